// weighted_cross_entropy on CUDA: one block per chunk of pixels sums it in float64, in a fixed order; one block adds
// the chunks. The backward pass has one thread per pixel. Up to 4 logits of a pixel are read once and kept in
// registers; more are read again, from cache. Least, with K logits: K values, the class and the weight of a pixel are
// read, and backward K values are written.
#include "ops/weighted_cross_entropy.h"

#include <cmath>

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256;
constexpr int kBlocksAtOnce = 4;                    // of a multiprocessor; for more the compiler would spill registers
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

// Where a pixel lies, in elements. Where pixels are evenly spaced (any dense memory but a batch of separate planes), no
// division is needed: the arithmetic would take longer than the memory.
struct Places {
  int64_t height, width, stride_n, stride_y, stride_x;
  bool is_even;

  __device__ __forceinline__ Places(const WeightedLogits& input, int64_t stride_n, int64_t stride_y, int64_t stride_x)
      : height(input.height),
        width(input.width),
        stride_n(stride_n),
        stride_y(stride_y),
        stride_x(stride_x),
        is_even(stride_y == width * stride_x && (input.images == 1 || stride_n == height * stride_y)) {}

  __device__ __forceinline__ int64_t operator()(int64_t pixel) const {
    if (is_even) return pixel * stride_x;
    const int64_t row = pixel / width, image = row / height;
    return image * stride_n + (row - image * height) * stride_y + (pixel - row * width) * stride_x;
  }
};

// The logits of a pixel: kClasses of them in registers, or, with kClasses = 0, any number in memory.
template <class T, int kClasses>
struct Logits {
  float value[kClasses];

  __device__ __forceinline__ Logits(const WeightedLogits& input, int64_t place) {
#pragma unroll
    for (int k = 0; k < kClasses; ++k) {
      value[k] = to_float(static_cast<const T*>(input.logits)[place + k * input.stride_k]);
    }
  }
  __device__ __forceinline__ int count() const { return kClasses; }
  __device__ __forceinline__ float operator[](int k) const { return value[k]; }
};

template <class T>
struct Logits<T, 0> {
  const T* value;
  int64_t stride_k;
  int classes;

  __device__ __forceinline__ Logits(const WeightedLogits& input, int64_t place)
      : value(static_cast<const T*>(input.logits) + place),
        stride_k(input.stride_k),
        classes(static_cast<int>(input.class_count)) {}
  __device__ __forceinline__ int count() const { return classes; }
  __device__ __forceinline__ float operator[](int k) const { return to_float(value[k * stride_k]); }
};

template <class T, int kClasses>
struct Softmax {
  Logits<T, kClasses> logits;
  float top;  // the greatest logit
  float sum;  // of exp(z - top)

  __device__ __forceinline__ Softmax(const WeightedLogits& input, int64_t place) : logits(input, place), sum(0) {
    top = logits[0];
#pragma unroll
    for (int k = 1; k < logits.count(); ++k) top = logits[k] > top ? logits[k] : top;
#pragma unroll
    for (int k = 0; k < logits.count(); ++k) sum += expf(logits[k] - top);
  }
  // 0 where there is no such class. No array is indexed by what only the pixel knows: it would lie in memory.
  __device__ __forceinline__ float of(int32_t of_class) const {
    float own = 0;
#pragma unroll
    for (int k = 0; k < logits.count(); ++k) own = k == of_class ? logits[k] : own;
    return own;
  }
};

// The sums of the block's threads, in thread 0. The order is fixed.
__device__ __forceinline__ void sum_block(double& loss, double& weight) {
  constexpr int kAdders = 16;
  __shared__ double losses[kBlock];
  __shared__ double weights[kBlock];
  const int thread = static_cast<int>(threadIdx.x);
  const auto add = [&](int step, int end) {
    for (int i = thread + step; i < end; i += step) loss += losses[i], weight += weights[i];
  };
  __syncthreads();  // the arrays may still be read from the sum before
  losses[thread] = loss;
  weights[thread] = weight;
  __syncthreads();
  if (thread < kAdders) {
    add(kAdders, kBlock);
    losses[thread] = loss;  // read by no other adder in this round
    weights[thread] = weight;
  }
  __syncthreads();
  if (thread == 0) add(1, kAdders);
}

template <class T, int kClasses>
__global__ void __launch_bounds__(kBlock, kBlocksAtOnce)
    sum_chunks_kernel(WeightedLogits input, LossPartial* partials) {
  const int64_t pixels = input.pixels(), chunks = (pixels + kLossChunk - 1) / kLossChunk;
  const Places places(input, input.stride_n, input.stride_y, input.stride_x);
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const int64_t begin = chunk * kLossChunk, end = begin + kLossChunk < pixels ? begin + kLossChunk : pixels;
    double loss = 0, weight = 0;
    for (int64_t pixel = begin + threadIdx.x; pixel < end; pixel += kBlock) {
      const int32_t of_class = class_at(input, pixel);
      if (of_class == kIgnored) continue;
      const Softmax<T, kClasses> softmax(input, places(pixel));
      const float own = softmax.of(of_class), w = weight_at(input, pixel, of_class);
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

template <class T, int kClasses>
__global__ void __launch_bounds__(kBlock, kBlocksAtOnce)
    weighted_cross_entropy_backward_kernel(WeightedCrossEntropyBackwardArgs args) {
  const WeightedLogits& input = args.input;
  const auto scale = static_cast<float>(*args.grad * *args.scale);
  const Places places(input, input.stride_n, input.stride_y, input.stride_x);
  const Places grad_places(input, args.grad_stride_n, args.grad_stride_y, args.grad_stride_x);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; pixel < input.pixels(); pixel += step) {
    T* grad = static_cast<T*>(args.grad_logits) + grad_places(pixel);
    const int32_t of_class = class_at(input, pixel);
    const Softmax<T, kClasses> softmax(input, places(pixel));
    const float factor = scale * weight_at(input, pixel, of_class) / softmax.sum;
#pragma unroll
    for (int k = 0; k < softmax.logits.count(); ++k) {
      const float value = factor * (expf(softmax.logits[k] - softmax.top) - (of_class == k ? softmax.sum : 0.0f));
      grad[k * args.grad_stride_k] = from_float<T>(of_class == kIgnored ? 0.0f : value);
    }
  }
}

// visit(logit type, number of classes that are kept in registers, or 0)
template <int kClasses = 2, class Visit>
void visit_logits(const WeightedLogits& input, const Visit& visit) {
  constexpr int kMaxKept = 4;
  if (input.class_count == kClasses || kClasses == 0) {
    visit_float_type(input.logits_dtype, [&](auto logit) { visit(logit, std::integral_constant<int, kClasses>{}); });
  } else if constexpr (kClasses > 0) {
    visit_logits<kClasses == kMaxKept ? 0 : kClasses + 1>(input, visit);
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* weighted_cross_entropy_cuda(const WeightedCrossEntropyArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_logits(args.input, [&](auto logit, auto classes) {
    error = launch(sum_chunks_kernel<decltype(logit), decltype(classes)::value>,
                   grid_for(args.input.pixels(), kLossChunk), kBlock, 0, stream, args.input, args.partials);
  });
  if (error) return error;
  return launch(add_chunks_kernel, dim3(1), kBlock, 0, stream, args.partials, args.input.pixels(), args.normalization,
                args.loss, args.scale);
}

const char* weighted_cross_entropy_backward_cuda(const WeightedCrossEntropyBackwardArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_logits(args.input, [&](auto logit, auto classes) {
    error = launch(weighted_cross_entropy_backward_kernel<decltype(logit), decltype(classes)::value>,
                   grid_for(args.input.pixels(), kBlock), kBlock, 0, stream, args);
  });
  return error;
}

}  // namespace unet_fast
