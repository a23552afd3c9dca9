// Layers on emulated tensor cores, and what they are compared with: plain loops in double. Each runs under several
// orders of threads and copies, into poisoned memory.
#pragma once

#include <algorithm>

#include "check.h"
#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"

namespace unet_fast::test {

constexpr uint64_t kOrders = 2;

struct Layer {
  int64_t images, channels, skip_channels, out_channels, height, width;
  int64_t crop = 0;
  bool pools = false;
};

inline std::string name_of(const Layer& l) {
  return text(l.images, " x ", l.channels, "+", l.skip_channels, " -> ", l.out_channels, ", ", l.height, " x ", l.width,
              ", crop ", l.crop, l.pools ? ", pooled" : "");
}

inline const char* name_of(ConvAlgorithm algorithm) {
  return algorithm == ConvAlgorithm::wgmma ? "wgmma" : algorithm == ConvAlgorithm::mma ? "mma" : "direct";
}

template <class T>
const char* type_name() {
  return std::is_same_v<T, BFloat16> ? "bfloat16, " : std::is_same_v<T, Float16> ? "float16, " : "TF32, ";
}

// Numbers that TF32 has too, for T = float: to be rounded to it changes nothing.
template <class T>
auto random_values(Random& random) {
  return [&random](int64_t) {
    const float value = random.uniform(-1, 1);
    return from_float<T>(std::is_same_v<T, float> ? to_float(from_float<BFloat16>(value)) : value);
  };
}

// The result as it is before it is rounded, [N, H, W, O]: `input(n, y, x, c)` is 0 outside, `weight(o, tap, c)`.
template <class Input, class Weight, class Finish>
Buffer<double> convolve(int64_t images, int64_t height, int64_t width, int64_t out_channels, int64_t channels,
                        const Input& input, const Weight& weight, const Finish& finish) {
  Buffer<double> y(images * height * width * out_channels);
  std::vector<double> patch(9 * channels), kernels(out_channels * 9 * channels);
  for (int64_t i = 0; i < static_cast<int64_t>(kernels.size()); ++i) {
    kernels[i] = weight(i / (9 * channels), i / channels % 9, i % channels);
  }
  for (int64_t pixel = 0; pixel < images * height * width; ++pixel) {
    const int64_t x = pixel % width, line = pixel / width;
    for (int64_t k = 0; k < 9 * channels; ++k) {
      const int64_t tap = k / channels;
      patch[k] = input(line / height, line % height + tap / 3, x + tap % 3, k % channels);
    }
    for (int64_t o = 0; o < out_channels; ++o) {
      const double* kernel = kernels.data() + o * 9 * channels;
      double sum = 0;
      for (int64_t k = 0; k < 9 * channels; ++k) sum += patch[k] * kernel[k];
      y[pixel * out_channels + o] = finish(o, sum);
    }
  }
  return y;
}

constexpr double kAbsolute = 1e-4;  // of sums in float32

// Runs the kernel with the workspace that it wants, and reports what it says; false where that was an error.
template <class Args>
bool run_on_tensor_cores(Args args, int64_t workspace_floats, const char* (*run)(const Args&, const Stream&),
                         const std::string& name) {
  Buffer<float> workspace(workspace_floats);
  args.workspace = workspace.data();
  const char* error = run(args, Stream{});
  check(!error, text(name, ": ", error ? error : ""));
  return !error;
}

}  // namespace unet_fast::test
