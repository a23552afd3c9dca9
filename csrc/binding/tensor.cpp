// Reads a torch.Tensor by duck typing: data_ptr(), shape, stride(), dtype, device. About half a microsecond each.
#include "binding/tensor.h"

#include <string>

namespace py = pybind11;

namespace unet_fast {
namespace {

constexpr const char* kNames[] = {"uint8",   "uint16",   "uint32",  "int16",   "int32", "int64",
                                  "float16", "bfloat16", "float32", "float64", "bool"};
constexpr int kDTypes = sizeof(kNames) / sizeof(*kNames);

// torch.uint8, torch.uint16, ... in the order of DType. Leaked on purpose: torch outlives us.
struct TorchTypes {
  PyObject* dtype[kDTypes];
  PyObject* strided;
};

const TorchTypes& torch_types() {
  static const TorchTypes types = [] {
    const py::module_ torch = py::module_::import("torch");
    TorchTypes result;
    for (int i = 0; i < kDTypes; ++i) result.dtype[i] = py::object(torch.attr(kNames[i])).release().ptr();
    result.strided = py::object(torch.attr("strided")).release().ptr();
    return result;
  }();
  return types;
}

void read_integers(const py::tuple& tuple, int64_t* out) {
  for (size_t i = 0; i < tuple.size(); ++i) out[i] = tuple[i].cast<int64_t>();
}

}  // namespace

const char* name_of(DType dtype) { return kNames[static_cast<int>(dtype)]; }

bool read_tensor(py::handle object, Tensor& tensor) {
  try {
    if (!py::hasattr(object, "data_ptr")) return false;
    if (py::object(object.attr("layout")).ptr() != torch_types().strided) return false;
    const py::object dtype = object.attr("dtype");
    int type = 0;
    while (type < kDTypes && torch_types().dtype[type] != dtype.ptr()) ++type;
    if (type == kDTypes) return false;
    tensor.dtype = static_cast<DType>(type);
    const py::tuple shape = object.attr("shape"), stride = object.attr("stride")();
    if (shape.size() > Tensor::kMaxDims) return false;
    tensor.dims = static_cast<int>(shape.size());
    read_integers(shape, tensor.size);
    read_integers(stride, tensor.stride);
    if (object.attr("is_cuda").cast<bool>()) {
      tensor.device = object.attr("get_device")().cast<int>();
    } else if (object.attr("is_cpu").cast<bool>()) {
      tensor.device = -1;
    } else {
      return false;
    }
    tensor.data = reinterpret_cast<void*>(object.attr("data_ptr")().cast<uintptr_t>());
    return true;
  } catch (py::error_already_set&) {
    return false;
  }
}

}  // namespace unet_fast
