// max_pool on the CPU: one task per row of the result.
#include "cpu/kernels.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// torch's order: a later value wins where it is greater, and a NaN wins always.
UNET_FAST_FUNCTION bool wins(float value, float best) { return value > best || value != value; }

template <class T>
void pool_row(const T* upper, const T* lower, int64_t width, int64_t channels, T* y) {
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t c = 0; c < channels; ++c) {
      T best = upper[c];
      for (const T value : {upper[channels + c], lower[c], lower[channels + c]}) {
        best = wins(to_float(value), to_float(best)) ? value : best;
      }
      y[c] = best;
    }
    upper += 2 * channels;
    lower += 2 * channels;
    y += channels;
  }
}

template <class T>
void spread_row(const T* grad, const T* upper, const T* lower, int64_t width, int64_t channels, T* grad_upper,
                T* grad_lower) {
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t c = 0; c < channels; ++c) {
      const float values[4] = {to_float(upper[c]), to_float(upper[channels + c]), to_float(lower[c]),
                               to_float(lower[channels + c])};
      int winner = 0;
      float best = values[0];
      for (int i = 1; i < 4; ++i) {
        winner = wins(values[i], best) ? i : winner;
        best = wins(values[i], best) ? values[i] : best;
      }
      const T zero = from_float<T>(0);
      grad_upper[c] = winner == 0 ? grad[c] : zero;
      grad_upper[channels + c] = winner == 1 ? grad[c] : zero;
      grad_lower[c] = winner == 2 ? grad[c] : zero;
      grad_lower[channels + c] = winner == 3 ? grad[c] : zero;
    }
    grad += channels;
    upper += 2 * channels;
    lower += 2 * channels;
    grad_upper += 2 * channels;
    grad_lower += 2 * channels;
  }
}

constexpr int64_t kRowsPerTask = 8;

}  // namespace

void max_pool(const MaxPoolArgs& args, const Threads& threads) {
  visit_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    const int64_t width = args.width / 2, x_row = args.width * args.channels;
    parallel_for(threads, args.images * args.height / 2, kRowsPerTask, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* x = static_cast<const T*>(args.x) + 2 * row * x_row;
        pool_row(x, x + x_row, width, args.channels, static_cast<T*>(args.y) + row * width * args.channels);
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
        const T* x = static_cast<const T*>(args.x) + 2 * row * x_row;
        T* grad_x = static_cast<T*>(args.grad_x) + 2 * row * x_row;
        spread_row(static_cast<const T*>(args.grad) + row * width * args.channels, x, x + x_row, width, args.channels,
                   grad_x, grad_x + x_row);
      }
    });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
