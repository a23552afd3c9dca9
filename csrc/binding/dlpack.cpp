#include "binding/dlpack.h"

#include <pybind11/pybind11.h>

#include "binding/check.h"

namespace py = pybind11;

namespace unet_fast::dlpack {

const Exchange& exchange() {
  static const Exchange* const table = [] {
    const py::object tensor = py::module_::import("torch").attr("Tensor");
    const py::object capsule = py::getattr(tensor, "__dlpack_c_exchange_api__", py::none());
    constexpr const char* kName = "dlpack_exchange_api";
    const void* found = PyCapsule_IsValid(capsule.ptr(), kName) ? PyCapsule_GetPointer(capsule.ptr(), kName) : nullptr;
    const auto* candidate = static_cast<const Exchange*>(found);
    while (candidate && candidate->version.major > kVersion.major) candidate = candidate->older;
    if (!candidate || candidate->version.major != kVersion.major || !candidate->view_of) {
      refuse_torch("torch.Tensor.__dlpack_c_exchange_api__");
    }
    return candidate;
  }();
  return *table;
}

}  // namespace unet_fast::dlpack
