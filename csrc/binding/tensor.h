// A torch tensor as a plain view (pointer, sizes, strides, dtype, device), read by DLPack (binding/dlpack.h). The view
// borrows; the caller's tensor keeps the memory alive.
#pragma once

#include <pybind11/pybind11.h>

#include "binding/dlpack.h"
#include "core/dtype.h"

namespace unet_fast {

struct Tensor {
  static constexpr int kMaxDims = 6;
  void* data = nullptr;
  int dims = 0;
  int64_t size[kMaxDims] = {};
  int64_t stride[kMaxDims] = {};  // elements
  DType dtype = DType::float32;
  int device = -1;  // index of the CUDA device, -1 for the CPU

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

const char* name_of(DType dtype);
// False where `object` is none of torch's dtypes that have a DType.
bool read_dtype(pybind11::handle object, DType& dtype);
dlpack::Type dlpack_type(DType dtype);

// False (and no Python error set) where `object` is not a dense CPU or CUDA tensor of a known dtype.
bool read_tensor(pybind11::handle object, Tensor& tensor);

}  // namespace unet_fast

namespace pybind11::detail {

template <>
struct type_caster<unet_fast::Tensor> {
  PYBIND11_TYPE_CASTER(unet_fast::Tensor, const_name("torch.Tensor"));
  bool load(handle source, bool) { return unet_fast::read_tensor(source, value); }
};

}  // namespace pybind11::detail
