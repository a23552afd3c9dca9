// weighted_cross_entropy: the loss of equations (1) and (2) of the paper, sum over x of w(x) (logsumexp_k z_k(x) -
// z_y(x)) / Z, and its gradient w (softmax - onehot) / Z.
//
// The sums are taken over fixed chunks of pixels, in float64, and the chunks are then added in order: the same input
// gives the same bits, whatever the number of threads.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/instance.h"
#include "core/parallel.h"
#include "core/portable.h"
#include "core/stream.h"

namespace unet_fast {

constexpr int64_t kLossChunk = 1024;  // pixels

// What the sum of the weighted losses is divided by.
enum class Normalization : int32_t {
  weight,  // Z = sum of w over the pixels that are not ignored
  pixels,  // Z = N H W
  sum,     // Z = 1
};

// 1 / Z, or 0 where Z is 0: then every pixel is ignored or weighs nothing.
UNET_FAST_FUNCTION double loss_scale(Normalization normalization, double weight, int64_t pixels) {
  const double divisor = normalization == Normalization::weight   ? weight
                         : normalization == Normalization::pixels ? static_cast<double>(pixels)
                                                                  : 1.0;
  return divisor != 0 ? 1 / divisor : 0;
}

// What forward and backward read alike.
struct WeightedLogits {
  const void* logits;    // [N, K, H, W] z, read through the strides below
  DType logits_dtype;    // bfloat16 or float32
  int64_t images;        // N
  int64_t class_count;   // K, 1..255
  int64_t height;        // H, pixels
  int64_t width;         // W, pixels
  int64_t stride_n;      // elements
  int64_t stride_k;      // elements
  int64_t stride_y;      // elements
  int64_t stride_x;      // elements
  const void* classes;   // [N, H, W] dense: y, 0..K-1, or 255: ignored
  DType classes_dtype;   // uint8 or int64
  const float* weights;  // [N, H, W] dense: w, or null (1)

  UNET_FAST_METHOD int64_t pixels() const { return images * height * width; }
};

// The sums of one chunk.
struct LossPartial {
  double loss;
  double weight;
  int64_t bad_class;  // CPU: a class found that is neither 0..K-1 nor 255, or 255 where there is none
};

struct WeightedCrossEntropyArgs {
  WeightedLogits input;
  Normalization normalization;
  LossPartial* partials;  // [ceil(N H W / kLossChunk)] scratch memory
  float* loss;            // one value; 0 where Z is 0
  double* scale;          // one value: 1 / Z; 0 where Z is 0
  // CPU: receives a class that is neither 0..K-1 nor 255, or 255. CUDA does not write it; there the loss is NaN.
  int64_t* bad_class;
};

struct WeightedCrossEntropyBackwardArgs {
  WeightedLogits input;
  const double* scale;    // one value, of the forward pass
  const float* grad;      // one value: gradient of the loss
  void* grad_logits;      // [N, K, H, W], written through the strides below, with the dtype of the logits
  int64_t grad_stride_n;  // elements
  int64_t grad_stride_k;  // elements
  int64_t grad_stride_y;  // elements
  int64_t grad_stride_x;  // elements
};

void weighted_cross_entropy_cpu(const WeightedCrossEntropyArgs& args, const Threads& threads);
void weighted_cross_entropy_backward_cpu(const WeightedCrossEntropyBackwardArgs& args, const Threads& threads);
// Null, or what CUDA said.
const char* weighted_cross_entropy_cuda(const WeightedCrossEntropyArgs& args, const Stream& stream);
const char* weighted_cross_entropy_backward_cuda(const WeightedCrossEntropyBackwardArgs& args, const Stream& stream);

}  // namespace unet_fast
