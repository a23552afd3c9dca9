#include "binding/tensor.h"

#include <algorithm>

namespace py = pybind11;

namespace unet_fast {
namespace {

constexpr int kDTypes = 11;

// In the order of DType.
constexpr const char* kNames[kDTypes] = {"uint8",   "uint16",   "uint32",  "int16",   "int32", "int64",
                                         "float16", "bfloat16", "float32", "float64", "bool"};
constexpr dlpack::Type kTypes[kDTypes] = {{dlpack::kUInt, 8, 1},   {dlpack::kUInt, 16, 1},   {dlpack::kUInt, 32, 1},
                                          {dlpack::kInt, 16, 1},   {dlpack::kInt, 32, 1},    {dlpack::kInt, 64, 1},
                                          {dlpack::kFloat, 16, 1}, {dlpack::kBFloat, 16, 1}, {dlpack::kFloat, 32, 1},
                                          {dlpack::kFloat, 64, 1}, {dlpack::kBool, 8, 1}};

// What of torch we know. Leaked on purpose: torch outlives us.
struct Torch {
  PyTypeObject* tensor;
  PyObject* dtype[kDTypes];  // torch.uint8, torch.uint16, ... in the order of DType
};

const Torch& torch() {
  static const Torch instance = [] {
    const py::module_ module = py::module_::import("torch");
    Torch result;
    result.tensor = reinterpret_cast<PyTypeObject*>(py::object(module.attr("Tensor")).release().ptr());
    for (int i = 0; i < kDTypes; ++i) result.dtype[i] = py::object(module.attr(kNames[i])).release().ptr();
    return result;
  }();
  return instance;
}

// The first `i` with is(i), as a DType.
template <class Is>
bool find_dtype(const Is& is, DType& dtype) {
  int type = 0;
  while (type < kDTypes && !is(type)) ++type;
  dtype = static_cast<DType>(type);
  return type < kDTypes;
}

bool read_device(const dlpack::View& view, int& device) {
  const bool is_cuda = view.device_type == dlpack::kCuda;
  device = is_cuda ? view.device : -1;
  return is_cuda || view.device_type == dlpack::kCpu || view.device_type == dlpack::kCudaHost;
}

}  // namespace

const char* name_of(DType dtype) { return kNames[static_cast<int>(dtype)]; }

bool read_dtype(py::handle object, DType& dtype) {
  return find_dtype([&](int type) { return torch().dtype[type] == object.ptr(); }, dtype);
}

dlpack::Type dlpack_type(DType dtype) { return kTypes[static_cast<int>(dtype)]; }

bool read_tensor(py::handle object, Tensor& tensor) {
  if (!PyObject_TypeCheck(object.ptr(), torch().tensor)) return false;
  dlpack::View view;
  if (dlpack::exchange().view_of(object.ptr(), &view) != 0) {
    PyErr_Clear();
    return false;
  }
  const auto is = [&](int type) {
    const dlpack::Type known = kTypes[type];
    return known.code == view.type.code && known.bits == view.type.bits && known.lanes == view.type.lanes;
  };
  if (view.dims > Tensor::kMaxDims || !find_dtype(is, tensor.dtype) || !read_device(view, tensor.device)) return false;
  tensor.data = static_cast<char*>(view.data) + view.byte_offset;
  tensor.dims = view.dims;
  std::copy(view.size, view.size + view.dims, tensor.size);
  std::copy(view.stride, view.stride + view.dims, tensor.stride);
  return true;
}

}  // namespace unet_fast
