#include "binding/check.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace py = pybind11;

namespace unet_fast {
namespace {

std::string join(const int64_t* values, int count) {
  std::string text = "[";
  for (int i = 0; i < count; ++i) text.append(i ? ", " : "").append(std::to_string(values[i]));
  return text.append("]");
}

// Whether the dimensions, in the given order from outermost to innermost, are dense. A size of 1 has any stride.
bool dense(const Tensor& tensor, const std::vector<int>& order) {
  int64_t expected = 1;
  bool is_dense = true;
  for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
    is_dense = is_dense && (tensor.size[*dim] == 1 || tensor.stride[*dim] == expected);
    expected *= tensor.size[*dim];
  }
  return is_dense || expected == 0;
}

std::string where(const Tensor& tensor) { return tensor.device < 0 ? "cpu" : "cuda:" + std::to_string(tensor.device); }

}  // namespace

std::string shape_of(const Tensor& tensor) { return join(tensor.size, tensor.dims); }

void Check::that(bool condition, const char* argument, const std::string& wanted, const std::string& got) const {
  if (!condition) throw py::value_error(std::string(op_) + ": " + argument + ": wanted " + wanted + ", got " + got);
}

void Check::dims(const Tensor& tensor, const char* argument, int dims, const char* wanted) const {
  that(tensor.dims == dims, argument, std::string("shape ") + wanted, shape_of(tensor));
}

void Check::shape(const Tensor& tensor, const char* argument, const std::vector<int64_t>& sizes) const {
  const int dims = static_cast<int>(sizes.size());
  that(tensor.dims == dims && std::equal(sizes.begin(), sizes.end(), tensor.size), argument,
       "shape " + join(sizes.data(), dims), shape_of(tensor));
}

void Check::dtype(const Tensor& tensor, const char* argument, std::initializer_list<DType> allowed) const {
  if (std::find(allowed.begin(), allowed.end(), tensor.dtype) != allowed.end()) return;
  std::string wanted;
  for (const DType dtype : allowed) wanted += (wanted.empty() ? "" : " or ") + std::string(name_of(dtype));
  throw py::type_error(std::string(op_) + ": " + argument + ": wanted dtype " + wanted + ", got " +
                       name_of(tensor.dtype));
}

void Check::float_dtype(const Tensor& tensor, const char* argument) const {
  if (tensor.device < 0) {
    dtype(tensor, argument, {DType::bfloat16, DType::float32});
  } else {
    dtype(tensor, argument, {DType::bfloat16, DType::float16, DType::float32});
  }
}

void Check::image_dtype(const Tensor& tensor, const char* argument) const {
  dtype(tensor, argument,
        {DType::uint8, DType::uint16, DType::int16, DType::int32, DType::float16, DType::bfloat16, DType::float32,
         DType::float64});
}

void Check::contiguous(const Tensor& tensor, const char* argument) const {
  std::vector<int> order(tensor.dims);
  std::iota(order.begin(), order.end(), 0);
  that(dense(tensor, order), argument, "a contiguous tensor", "strides " + join(tensor.stride, tensor.dims));
}

void Check::channels_last(const Tensor& tensor, const char* argument) const {
  dims(tensor, argument, 4, "[N, C, H, W]");
  that(dense(tensor, {0, 2, 3, 1}), argument, "channels_last memory (N, H, W, C)",
       "strides " + join(tensor.stride, tensor.dims));
}

void Check::images(const Tensor& tensor, const char* argument, const std::vector<int64_t>& sizes, const Tensor& other,
                   const char* other_argument) const {
  shape(tensor, argument, sizes);
  channels_last(tensor, argument);
  dtype(tensor, argument, {other.dtype});
  device(tensor, argument, other, other_argument);
}

void Check::device(const Tensor& tensor, const char* argument, const Tensor& other, const char* other_argument) const {
  that(tensor.device == other.device, argument,
       std::string("the device of ") + other_argument + " (" + where(other) + ")", where(tensor));
}

void refuse_torch(const std::string& missing) {
  throw std::runtime_error("unet_fast needs torch 2.10 or later (" + missing + " is missing): upgrade torch");
}

}  // namespace unet_fast
