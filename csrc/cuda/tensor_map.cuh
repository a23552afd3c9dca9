// Tensor maps: how TMA finds boxes of a tensor in global memory. The driver encodes them; it is looked up at run time,
// so the module needs no libcuda.
#pragma once

#include <cstdint>

#ifndef UNET_FAST_EMULATOR
#include <cuda.h>
#include <cuda_runtime.h>
#endif

namespace unet_fast {

// Four dimensions, innermost first, of values of 16 bits. Strides and the address are multiples of 16 bytes. A box is
// 64 values wide, which is 128 bytes, in shared memory swizzled (see tensor_core.cuh).
struct BoxedTensor {
  const void* data;
  int64_t size[4];    // elements
  int64_t stride[4];  // elements; stride[0] = 1
  int box[4];         // elements, each at most 256; box[0] = 64
};

// [N, H, W, C] with dense pixels.
inline BoxedTensor boxed_images(const void* data, int64_t images, int64_t height, int64_t width, int64_t channels,
                                int64_t row_stride, int64_t image_stride, int box_height, int box_width) {
  return {
      data, {channels, width, height, images}, {1, channels, row_stride, image_stride}, {64, box_width, box_height, 1}};
}
inline BoxedTensor boxed_images(const void* data, int64_t images, int64_t height, int64_t width, int64_t channels,
                                int box_height, int box_width) {
  return boxed_images(data, images, height, width, channels, width * channels, height * width * channels, box_height,
                      box_width);
}

#ifdef UNET_FAST_EMULATOR

struct TensorMap : BoxedTensor {};

// Null, or which rule of cuTensorMapEncodeTiled does not hold.
inline const char* encode(const BoxedTensor& tensor, TensorMap& map) {
  if (reinterpret_cast<uintptr_t>(tensor.data) % 16) return "tensor map: the address is no multiple of 16 bytes";
  if (tensor.stride[0] != 1 || tensor.box[0] != 64) return "tensor map: a box's row is not 128 bytes";
  for (int i = 0; i < 4; ++i) {
    if (tensor.size[i] < 1 || tensor.size[i] > int64_t{1} << 32) return "tensor map: a size is out of range";
    if (tensor.box[i] < 1 || tensor.box[i] > 256) return "tensor map: a box is out of range";
    const bool is_stride = i == 0 || (tensor.stride[i] > 0 && tensor.stride[i] * 2 % 16 == 0);
    if (!is_stride || tensor.stride[i] * 2 >= int64_t{1} << 40) return "tensor map: a stride is not allowed";
  }
  map = {tensor};
  return nullptr;
}

#else

using TensorMap = CUtensorMap;

// Null, or what CUDA said.
inline const char* encode(const BoxedTensor& tensor, TensorMap& map) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  static const Encode encode_tiled = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    constexpr int kFirstVersion = 12000;
    const cudaError_t status =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, kFirstVersion, cudaEnableDefault, &result);
    const bool is_found = status == cudaSuccess && result == cudaDriverEntryPointSuccess;
    return is_found ? reinterpret_cast<Encode>(found) : nullptr;
  }();
  if (!encode_tiled) return "the driver has no cuTensorMapEncodeTiled: it is older than CUDA 12";
  cuuint64_t size[4], stride_bytes[3];
  cuuint32_t box[4];
  const cuuint32_t step[4] = {1, 1, 1, 1};
  for (int i = 0; i < 4; ++i) {
    size[i] = static_cast<cuuint64_t>(tensor.size[i]);
    box[i] = static_cast<cuuint32_t>(tensor.box[i]);
    if (i > 0) stride_bytes[i - 1] = static_cast<cuuint64_t>(tensor.stride[i]) * 2;
  }
  // TMA only moves them: that the zeros which it fills in are zero bits is all it must know.
  const CUresult status =
      encode_tiled(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 4, const_cast<void*>(tensor.data), size, stride_bytes, box,
                   step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return status == CUDA_SUCCESS ? nullptr : "cuTensorMapEncodeTiled refused the tensor";
}

#endif

}  // namespace unet_fast
