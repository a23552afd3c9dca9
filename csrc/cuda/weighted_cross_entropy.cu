// weighted_cross_entropy on CUDA: one block per chunk of pixels sums it in float64, in a fixed order; one block adds
// the chunks. The backward pass has one thread per pixel. Both read the logits of a pixel twice, the second time from
// cache.
#include "ops/weighted_cross_entropy.h"

#include <cmath>

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256;
constexpr int32_t kIgnored = -1, kOutOfRange = -2;  // instead of a class

// The class of a pixel.
__device__ __forceinline__ int32_t class_at(const WeightedLogits& input, int64_t pixel) {
  const int64_t value = input.classes_dtype == DType::uint8 ? static_cast<const uint8_t*>(input.classes)[pixel]
                                                            : static_cast<const int64_t*>(input.classes)[pixel];
  if (value >= 0 && value < input.class_count) return static_cast<int32_t>(value);
  return value == kIgnoredClass ? kIgnored : kOutOfRange;
}

// The weight of a pixel; NaN where its class is out of range.
__device__ __forceinline__ float weight_at(const WeightedLogits& input, int64_t pixel, int32_t of_class) {
  if (of_class == kOutOfRange) return NAN;
  return input.weights ? input.weights[pixel] : 1.0f;
}

template <class T>
struct Softmax {
  const T* logits;  // of the pixel
  int64_t stride_k;
  float top;  // the greatest logit
  float sum;  // of exp(z - top)

  __device__ __forceinline__ Softmax(const WeightedLogits& input, int64_t pixel) : stride_k(input.stride_k), sum(0) {
    const int64_t row = pixel / input.width;
    logits = static_cast<const T*>(input.logits) + row / input.height * input.stride_n +
             row % input.height * input.stride_y + pixel % input.width * input.stride_x;
    top = logit(0);
    for (int64_t k = 1; k < input.class_count; ++k) top = logit(k) > top ? logit(k) : top;
    for (int64_t k = 0; k < input.class_count; ++k) sum += expf(logit(k) - top);
  }
  __device__ __forceinline__ float logit(int64_t k) const { return to_float(logits[k * stride_k]); }
};

// The sums of the block's threads, in every thread. The order is fixed.
__device__ __forceinline__ void sum_block(double& loss, double& weight) {
  __shared__ double losses[kBlock];
  __shared__ double weights[kBlock];
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // the arrays may still be read from the sum before
  losses[thread] = loss;
  weights[thread] = weight;
  __syncthreads();
  for (int half = kBlock / 2; half > 0; half /= 2) {
    if (thread < half) {
      losses[thread] += losses[thread + half];
      weights[thread] += weights[thread + half];
    }
    __syncthreads();
  }
  loss = losses[0];
  weight = weights[0];
}

template <class T>
__global__ void sum_chunks_kernel(WeightedLogits input, LossPartial* partials) {
  const int64_t pixels = input.pixels(), chunks = (pixels + kLossChunk - 1) / kLossChunk;
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const int64_t begin = chunk * kLossChunk, end = begin + kLossChunk < pixels ? begin + kLossChunk : pixels;
    double loss = 0, weight = 0;
    for (int64_t pixel = begin + threadIdx.x; pixel < end; pixel += kBlock) {
      const int32_t of_class = class_at(input, pixel);
      if (of_class == kIgnored) continue;
      const Softmax<T> softmax(input, pixel);
      const float own = of_class < 0 ? 0.0f : softmax.logit(of_class), w = weight_at(input, pixel, of_class);
      loss += static_cast<double>(w) * static_cast<double>(logf(softmax.sum) + (softmax.top - own));
      weight += static_cast<double>(w);
    }
    sum_block(loss, weight);
    if (threadIdx.x == 0) partials[chunk] = {loss, weight, kIgnoredClass};
  }
}

__global__ void add_chunks_kernel(const LossPartial* partials, int64_t pixels, Normalization normalization,
                                  float* loss_out, double* scale_out) {
  double loss = 0, weight = 0;
  for (int64_t chunk = threadIdx.x; chunk < (pixels + kLossChunk - 1) / kLossChunk; chunk += kBlock) {
    loss += partials[chunk].loss;
    weight += partials[chunk].weight;
  }
  sum_block(loss, weight);
  if (threadIdx.x != 0) return;
  *scale_out = loss_scale(normalization, weight, pixels);
  *loss_out = static_cast<float>(loss * *scale_out);
}

template <class T>
__global__ void weighted_cross_entropy_backward_kernel(WeightedCrossEntropyBackwardArgs args) {
  const WeightedLogits& input = args.input;
  const auto scale = static_cast<float>(*args.grad * *args.scale);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; pixel < input.pixels(); pixel += step) {
    const int64_t row = pixel / input.width;
    T* grad = static_cast<T*>(args.grad_logits) + row / input.height * args.grad_stride_n +
              row % input.height * args.grad_stride_y + pixel % input.width * args.grad_stride_x;
    const int32_t of_class = class_at(input, pixel);
    const Softmax<T> softmax(input, pixel);
    const float factor = scale * weight_at(input, pixel, of_class) / softmax.sum;
    for (int64_t k = 0; k < input.class_count; ++k) {
      const float value = factor * (expf(softmax.logit(k) - softmax.top) - (of_class == k ? softmax.sum : 0.0f));
      grad[k * args.grad_stride_k] = from_float<T>(of_class == kIgnored ? 0.0f : value);
    }
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* weighted_cross_entropy_cuda(const WeightedCrossEntropyArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_float_type(args.input.logits_dtype, [&](auto logit) {
    error = launch(sum_chunks_kernel<decltype(logit)>, grid_for(args.input.pixels(), kLossChunk), kBlock, 0, stream,
                   args.input, args.partials);
  });
  if (error) return error;
  return launch(add_chunks_kernel, dim3(1), kBlock, 0, stream, args.partials, args.input.pixels(), args.normalization,
                args.loss, args.scale);
}

const char* weighted_cross_entropy_backward_cuda(const WeightedCrossEntropyBackwardArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_float_type(args.input.logits_dtype, [&](auto logit) {
    error = launch(weighted_cross_entropy_backward_kernel<decltype(logit)>, grid_for(args.input.pixels(), kBlock),
                   kBlock, 0, stream, args);
  });
  return error;
}

}  // namespace unet_fast
