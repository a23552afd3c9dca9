// Reads a torch.Tensor by duck typing: data_ptr(), shape, stride(), dtype, device.
#include "binding/tensor.h"

#include <string>

namespace py = pybind11;

namespace unet_fast {
namespace {

constexpr const char* kNames[] = {"uint8",   "uint16",   "uint32",  "int16",   "int32", "int64",
                                  "float16", "bfloat16", "float32", "float64", "bool"};
constexpr int kDTypes = sizeof(kNames) / sizeof(*kNames);

// torch.uint8, torch.uint16, ... in the order of DType. Leaked on purpose, like the names: torch outlives us.
struct TorchTypes {
  PyObject* dtype[kDTypes];
  PyObject* strided;
};

// Python finds an attribute several times faster by a string that it knows than by a new one.
struct Names {
  PyObject* const data_ptr = PyUnicode_InternFromString("data_ptr");
  PyObject* const device = PyUnicode_InternFromString("get_device");
  PyObject* const dtype = PyUnicode_InternFromString("dtype");
  PyObject* const is_cpu = PyUnicode_InternFromString("is_cpu");
  PyObject* const is_cuda = PyUnicode_InternFromString("is_cuda");
  PyObject* const layout = PyUnicode_InternFromString("layout");
  PyObject* const shape = PyUnicode_InternFromString("shape");
  PyObject* const stride = PyUnicode_InternFromString("stride");
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

const Names& names() {
  static const Names instance;
  return instance;
}

py::object checked(PyObject* object) {
  if (!object) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(object);
}

py::object attribute(py::handle object, PyObject* name) { return checked(PyObject_GetAttr(object.ptr(), name)); }

py::object call(py::handle object, PyObject* method) {
  return checked(PyObject_CallMethodNoArgs(object.ptr(), method));
}

void read_integers(const py::tuple& tuple, int64_t* out) {
  for (size_t i = 0; i < tuple.size(); ++i) out[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(tuple.ptr(), i));
  if (PyErr_Occurred()) throw py::error_already_set();
}

}  // namespace

const char* name_of(DType dtype) { return kNames[static_cast<int>(dtype)]; }

bool read_tensor(py::handle object, Tensor& tensor) {
  try {
    if (attribute(object, names().layout).ptr() != torch_types().strided) return false;
    const py::object dtype = attribute(object, names().dtype);
    int type = 0;
    while (type < kDTypes && torch_types().dtype[type] != dtype.ptr()) ++type;
    if (type == kDTypes) return false;
    tensor.dtype = static_cast<DType>(type);
    const py::tuple shape = attribute(object, names().shape), stride = call(object, names().stride);
    if (shape.size() > Tensor::kMaxDims) return false;
    tensor.dims = static_cast<int>(shape.size());
    read_integers(shape, tensor.size);
    read_integers(stride, tensor.stride);
    if (attribute(object, names().is_cpu).ptr() == Py_True) {
      tensor.device = -1;
    } else if (attribute(object, names().is_cuda).ptr() == Py_True) {
      tensor.device = call(object, names().device).cast<int>();
    } else {
      return false;
    }
    tensor.data = reinterpret_cast<void*>(call(object, names().data_ptr).cast<uintptr_t>());
    return true;
  } catch (py::error_already_set&) {
    return false;
  }
}

}  // namespace unet_fast
