// max_pool on CUDA. A thread has 16 bytes of channels of a window of 2 x 2 pixels, or one channel where they do not
// come in vectors; neighbouring threads have neighbouring channels, then pixels. Forward, 4 vectors are read and one is
// written, which is the least. Backward, the gradient of the pool, that of the skip and the mask of the ReLU are one
// pass: of each window 5 vectors are read (9 under the skip) and 4 are written.
#include "ops/max_pool.h"

#include "cuda/vector.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 128;

// A row of windows: blockIdx.x is its number among those of all images, blockIdx.y and the thread number what is in it.
template <int kCount, class Args>
struct Row {
  int groups, windows;  // vectors of a pixel, windows of the row
  int64_t channels, in_row;

  __device__ __forceinline__ explicit Row(const Args& args)
      : groups(static_cast<int>(args.channels) / kCount),
        windows(static_cast<int>(args.width) / 2),
        channels(args.channels),
        in_row(args.width * args.channels) {}

  __device__ __forceinline__ int first() const { return static_cast<int>(blockIdx.y * kBlock + threadIdx.x); }
  __device__ __forceinline__ int end() const { return windows * groups; }
  __device__ __forceinline__ int step() const { return static_cast<int>(gridDim.y) * kBlock; }
  __device__ __forceinline__ int x(int i) const { return i / groups; }
  __device__ __forceinline__ int64_t pooled(int i) const {
    return static_cast<int64_t>(blockIdx.x) * windows * channels + static_cast<int64_t>(i) * kCount;
  }
  // Pixel j of the four.
  __device__ __forceinline__ int64_t pixel(int i, int j) const {
    return (2 * static_cast<int64_t>(blockIdx.x) + j / 2) * in_row + (2 * x(i) + j % 2) * channels +
           i % groups * kCount;
  }
};

// Takes a value where torch does: a later one wins where it is greater, and a NaN wins always.
__device__ __forceinline__ bool wins(float value, float best) { return value > best || value != value; }

template <class T, int kCount>
__global__ void __launch_bounds__(kBlock) max_pool_kernel(MaxPoolArgs args) {
  const Row<kCount, MaxPoolArgs> row(args);
  for (int i = row.first(); i < row.end(); i += row.step()) {
    float best[kCount];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      float value[kCount];
      load_values(value, static_cast<const T*>(args.x) + row.pixel(i, j));
#pragma unroll
      for (int k = 0; k < kCount; ++k) best[k] = j == 0 || wins(value[k], best[k]) ? value[k] : best[k];
    }
    store_values(static_cast<T*>(args.y) + row.pooled(i), best);
  }
}

// What comes back past the pool for pixel j of window i, or zeros.
template <class T, int kCount>
__device__ __forceinline__ void load_skip(const MaxPoolBackwardArgs& args, const Row<kCount, MaxPoolBackwardArgs>& row,
                                          int i, int j, float (&to)[kCount]) {
  const int64_t height = args.height - 2 * args.crop, width = args.width - 2 * args.crop;
  const int64_t rows = args.height / 2, image = blockIdx.x / static_cast<unsigned>(rows);
  const int64_t y = 2 * (blockIdx.x - image * rows) + j / 2 - args.crop, x = 2 * row.x(i) + j % 2 - args.crop;
  if (args.skip && x >= 0 && x < width && y >= 0 && y < height) {
    load_values(to, static_cast<const T*>(args.skip) + ((image * height + y) * width + x) * args.channels +
                        i % row.groups * kCount);
  } else {
    for (int k = 0; k < kCount; ++k) to[k] = 0;
  }
}

template <class T, int kCount>
__global__ void __launch_bounds__(kBlock) max_pool_backward_kernel(MaxPoolBackwardArgs args) {
  const Row<kCount, MaxPoolBackwardArgs> row(args);
  for (int i = row.first(); i < row.end(); i += row.step()) {
    float grad[kCount], x[4][kCount], skip[4][kCount];
    load_values(grad, static_cast<const T*>(args.grad) + row.pooled(i));
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      load_values(x[j], static_cast<const T*>(args.x) + row.pixel(i, j));
      load_skip<T>(args, row, i, j, skip[j]);
    }
#pragma unroll
    for (int k = 0; k < kCount; ++k) {
      int winner = 0;
      float best = x[0][k];
#pragma unroll
      for (int j = 1; j < 4; ++j) {
        if (wins(x[j][k], best)) best = x[j][k], winner = j;
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        skip[j][k] += j == winner ? grad[k] : 0.0f;
        if (args.rectified && x[j][k] <= 0) skip[j][k] = 0;
      }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) store_values(static_cast<T*>(args.grad_x) + row.pixel(i, j), skip[j]);
  }
}

template <class Args>
const char* launch_rows(void (*kernel)(Args), const Args& args, int count, const Stream& stream) {
  constexpr int64_t kMaxParts = 65535;  // of the grid's second dimension
  const int64_t parts = (args.width / 2 * (args.channels / count) + kBlock - 1) / kBlock;
  const dim3 grid(static_cast<unsigned>(args.images * (args.height / 2)),
                  static_cast<unsigned>(parts < kMaxParts ? parts : kMaxParts));
  return launch(kernel, grid, kBlock, 0, stream, args);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* max_pool_cuda(const MaxPoolArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    error = are_vectors<T>(args.channels, {args.x, args.y})
                ? launch_rows(max_pool_kernel<T, kVector<T>>, args, kVector<T>, stream)
                : launch_rows(max_pool_kernel<T, 1>, args, 1, stream);
  });
  return error;
}

const char* max_pool_backward_cuda(const MaxPoolBackwardArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    error = are_vectors<T>(args.channels, {args.x, args.grad, args.skip, args.grad_x})
                ? launch_rows(max_pool_backward_kernel<T, kVector<T>>, args, kVector<T>, stream)
                : launch_rows(max_pool_backward_kernel<T, 1>, args, 1, stream);
  });
  return error;
}

}  // namespace unet_fast
