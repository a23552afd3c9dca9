// max_pool on CUDA: one thread per value of the result, in NHWC order, so that neighbours read and write neighbours.
#include "ops/max_pool.h"

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256;

// The four values under value i of the result: the first, and the offsets of the others from it.
struct Window {
  int64_t first;
  int64_t offset[4];
};

template <class Args>
UNET_FAST_FUNCTION Window window_of(const Args& args, int64_t i) {
  const int64_t c = i % args.channels, pixel = i / args.channels;
  const int64_t x = pixel % (args.width / 2), line = pixel / (args.width / 2);  // line: image and row of the result
  const int64_t row = args.width * args.channels;
  return {2 * line * row + 2 * x * args.channels + c, {0, args.channels, row, row + args.channels}};
}

// Which of the four torch takes: a later value wins where it is greater, and a NaN wins always.
template <class T>
UNET_FAST_FUNCTION int winner_of(const T* x, const Window& window) {
  int winner = 0;
  float best = to_float(x[window.first]);
  for (int i = 1; i < 4; ++i) {
    const float value = to_float(x[window.first + window.offset[i]]);
    if (value > best || value != value) {
      best = value;
      winner = i;
    }
  }
  return winner;
}

// What comes back past the pool for value i of x.
template <class T>
UNET_FAST_FUNCTION float skip_gradient(const MaxPoolBackwardArgs& args, int64_t i) {
  const int64_t c = i % args.channels, pixel = i / args.channels, line = pixel / args.width;
  const int64_t height = args.height - 2 * args.crop, width = args.width - 2 * args.crop;
  const int64_t x = pixel % args.width - args.crop, y = line % args.height - args.crop;
  if (x < 0 || x >= width || y < 0 || y >= height) return 0;
  return to_float(
      static_cast<const T*>(args.skip)[((line / args.height * height + y) * width + x) * args.channels + c]);
}

template <class T>
__global__ void max_pool_kernel(MaxPoolArgs args) {
  const int64_t count = args.images * (args.height / 2) * (args.width / 2) * args.channels;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  const T* x = static_cast<const T*>(args.x);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < count; i += step) {
    const Window window = window_of(args, i);
    static_cast<T*>(args.y)[i] = x[window.first + window.offset[winner_of(x, window)]];
  }
}

template <class T>
__global__ void max_pool_backward_kernel(MaxPoolBackwardArgs args) {
  const int64_t count = args.images * (args.height / 2) * (args.width / 2) * args.channels;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < count; i += step) {
    const Window window = window_of(args, i);
    const int winner = winner_of(static_cast<const T*>(args.x), window);
    for (int j = 0; j < 4; ++j) {
      const int64_t to = window.first + window.offset[j];
      float sum = j == winner ? to_float(static_cast<const T*>(args.grad)[i]) : 0.0f;
      if (args.skip) sum += skip_gradient<T>(args, to);
      if (args.rectified && to_float(static_cast<const T*>(args.x)[to]) <= 0) sum = 0;
      static_cast<T*>(args.grad_x)[to] = from_float<T>(sum);
    }
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* max_pool_cuda(const MaxPoolArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const int64_t count = args.images * (args.height / 2) * (args.width / 2) * args.channels;
  visit_float_type(args.dtype, [&](auto type) {
    error = launch(max_pool_kernel<decltype(type)>, grid_for(count, kBlock), kBlock, 0, stream, args);
  });
  return error;
}

const char* max_pool_backward_cuda(const MaxPoolBackwardArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const int64_t count = args.images * (args.height / 2) * (args.width / 2) * args.channels;
  visit_float_type(args.dtype, [&](auto type) {
    error = launch(max_pool_backward_kernel<decltype(type)>, grid_for(count, kBlock), kBlock, 0, stream, args);
  });
  return error;
}

}  // namespace unet_fast
