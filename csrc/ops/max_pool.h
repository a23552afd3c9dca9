// max_pool: maximum of 2x2 pixels, stride 2 (the "max pool 2x2" of figure 1). No index is stored: the gradient goes to
// the first maximum in scan order, found again by comparison.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

struct MaxPoolArgs {
  const void* x;     // [N, H, W, C] dense
  DType dtype;       // of all tensors: bfloat16, float32, or float16 on CUDA
  int64_t images;    // N
  int64_t height;    // H, pixels, even
  int64_t width;     // W, pixels, even
  int64_t channels;  // C
  void* y;           // [N, H / 2, W / 2, C] dense
};

struct MaxPoolBackwardArgs {
  const void* grad;  // [N, H / 2, W / 2, C] dense, gradient of y
  const void* x;     // [N, H, W, C] dense
  DType dtype;       // of all tensors: bfloat16, float32, or float16 on CUDA
  int64_t images;    // N
  int64_t height;    // H, pixels, even
  int64_t width;     // W, pixels, even
  int64_t channels;  // C
  void* grad_x;      // [N, H, W, C] dense

  // Where x is the result of a ReLU, and also goes on past the pool, cropped, as a skip does:
  const void* skip = nullptr;  // [N, H - 2 crop, W - 2 crop, C] dense, its gradient from there, which is added; or null
  int64_t crop = 0;            // pixels along each edge
  bool rectified = false;      // grad_x is that of the ReLU's input: 0 where x <= 0
};

void max_pool_cpu(const MaxPoolArgs& args, const Threads& threads);
void max_pool_backward_cpu(const MaxPoolBackwardArgs& args, const Threads& threads);

const char* max_pool_cuda(const MaxPoolArgs& args, const Stream& stream);
const char* max_pool_backward_cuda(const MaxPoolBackwardArgs& args, const Stream& stream);

}  // namespace unet_fast
