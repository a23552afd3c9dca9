// max_pool on the CPU: one task per row of the result, channels in vectors.
#include "cpu/kernels.h"

#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kWindow = 4;  // pixels under one of the result: upper left, upper right, lower left, lower right

// Calls visit(channel, count) for the channels of a pixel, a vector at a time.
template <class Visit>
UNET_FAST_FUNCTION void visit_channels(int64_t channels, const Visit& visit) {
  for (int64_t c = 0; c < channels; c += kLanes) visit(c, channels - c < kLanes ? channels - c : kLanes);
}

template <class T>
void pool_row(const T* x, int64_t x_row, int64_t width, int64_t channels, T* y) {
  const int64_t offset[kWindow] = {0, channels, x_row, x_row + channels};
  for (int64_t pixel = 0; pixel < width; ++pixel, x += 2 * channels, y += channels) {
    visit_channels(channels, [&](int64_t c, int64_t count) {
      Vector best = load_values(x + c, count);
      for (int i = 1; i < kWindow; ++i) best = later_maximum(best, load_values(x + offset[i] + c, count));
      store_values(y + c, best, count);
    });
  }
}

// A row of x's gradient past the pool: pixels [crop, width - crop), or null.
template <class T>
struct SkipRow {
  const T* data;
  int64_t crop, width;
  UNET_FAST_METHOD Vector read(int64_t pixel, int64_t channels, int64_t c, int64_t count) const {
    if (!data || pixel < crop || pixel >= width - crop) return Vector{};
    return load_values(data + (pixel - crop) * channels + c, count);
  }
};

template <class T>
void spread_row(const T* grad, const T* x, const SkipRow<T> (&skip)[2], bool rectified, int64_t x_row, int64_t width,
                int64_t channels, T* grad_x) {
  const int64_t offset[kWindow] = {0, channels, x_row, x_row + channels};
  for (int64_t pixel = 0; pixel < width; ++pixel, x += 2 * channels, grad_x += 2 * channels, grad += channels) {
    visit_channels(channels, [&](int64_t c, int64_t count) {
      const Vector gradient = load_values(grad + c, count);
      Vector best = load_values(x + c, count);
      Vector values[kWindow] = {best}, share[kWindow] = {gradient};
#pragma GCC unroll 4
      for (int i = 1; i < kWindow; ++i) {
        const Vector value = values[i] = load_values(x + offset[i] + c, count);
        const auto won = wins(value, best);
        best = won ? value : best;
        share[i] = won ? gradient : Vector{};
#pragma GCC unroll 4
        for (int before = 0; before < i; ++before) share[before] = won ? Vector{} : share[before];
      }
#pragma GCC unroll 4
      for (int i = 0; i < kWindow; ++i) {
        const Vector sum = share[i] + skip[i / 2].read(2 * pixel + i % 2, channels, c, count);
        store_values(grad_x + offset[i] + c, rectified ? (values[i] <= Vector{} ? Vector{} : sum) : sum, count);
      }
    });
  }
}

// Of row `row` of x, counted through all images.
template <class T>
SkipRow<T> skip_row(const MaxPoolBackwardArgs& args, int64_t row) {
  const int64_t height = args.height - 2 * args.crop, width = args.width - 2 * args.crop;
  const int64_t y = row % args.height - args.crop;
  if (!args.skip || y < 0 || y >= height) return {nullptr, 0, 0};
  const int64_t skip_row = row / args.height * height + y;
  return {static_cast<const T*>(args.skip) + skip_row * width * args.channels, args.crop, args.width};
}

constexpr int64_t kRowsPerTask = 8;

}  // namespace

void max_pool(const MaxPoolArgs& args, const Threads& threads) {
  visit_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t width = args.width / 2, x_row = args.width * args.channels;
    parallel_for(threads, args.images * args.height / 2, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        pool_row(static_cast<const T*>(args.x) + 2 * row * x_row, x_row, width, args.channels,
                 static_cast<T*>(args.y) + row * width * args.channels);
      }
    });
  });
}

void max_pool_backward(const MaxPoolBackwardArgs& args, const Threads& threads) {
  visit_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t width = args.width / 2, x_row = args.width * args.channels;
    parallel_for(threads, args.images * args.height / 2, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const SkipRow<T> skip[2] = {skip_row<T>(args, 2 * row), skip_row<T>(args, 2 * row + 1)};
        spread_row(static_cast<const T*>(args.grad) + row * width * args.channels,
                   static_cast<const T*>(args.x) + 2 * row * x_row, skip, args.rectified, x_row, width, args.channels,
                   static_cast<T*>(args.grad_x) + 2 * row * x_row);
      }
    });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
