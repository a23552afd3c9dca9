// Argument checks of the bindings. Every message reads "op: argument: wanted ..., got ...".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "binding/tensor.h"

namespace unet_fast {

class Check {
 public:
  explicit Check(const char* op) : op_(op) {}

  // A general condition on one argument; ValueError.
  void that(bool condition, const char* argument, const std::string& wanted, const std::string& got) const;
  // Number of dimensions; `wanted` spells them, such as "[C, H, W]".
  void dims(const Tensor& tensor, const char* argument, int dims, const char* wanted) const;
  // Exact sizes.
  void shape(const Tensor& tensor, const char* argument, const std::vector<int64_t>& sizes) const;
  // One of these dtypes; TypeError.
  void dtype(const Tensor& tensor, const char* argument, std::initializer_list<DType> allowed) const;
  // One that the network is computed in on the tensor's device; TypeError.
  void float_dtype(const Tensor& tensor, const char* argument) const;
  // One that visit_image_type knows; TypeError.
  void image_dtype(const Tensor& tensor, const char* argument) const;
  // Row-major in the order of its dimensions.
  void contiguous(const Tensor& tensor, const char* argument) const;
  // [N, C, H, W] that lies in memory as [N, H, W, C].
  void channels_last(const Tensor& tensor, const char* argument) const;
  // [N, C, H, W] of exact sizes in channels_last memory, with the dtype and on the device of `other`.
  void images(const Tensor& tensor, const char* argument, const std::vector<int64_t>& sizes, const Tensor& other,
              const char* other_argument) const;
  // On the device of `other`.
  void device(const Tensor& tensor, const char* argument, const Tensor& other, const char* other_argument) const;

 private:
  const char* op_;
};

std::string shape_of(const Tensor& tensor);  // "[1, 2, 3]"

// For a torch that is too old to have `missing`; RuntimeError.
[[noreturn]] void refuse_torch(const std::string& missing);

}  // namespace unet_fast
