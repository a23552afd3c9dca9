// conv_relu on emulated tensor cores: two sources, odd sizes, cropped and pooled results, parts of sums, and the data
// gradient.
#include "tensor_core_layers.h"

namespace unet_fast::test {
namespace {

template <class T>
void forward(const Layer& l, ConvAlgorithm algorithm) {
  Random random(l.height * 1000 + l.width);
  const auto value = random_values<T>(random);
  constexpr int64_t kMargin = 2;  // the skip is a window of larger images
  const int64_t skip_height = l.height + 2 * kMargin, skip_width = l.width + 2 * kMargin + 1;
  const int64_t channels = l.channels + l.skip_channels, height = l.height - 2, width = l.width - 2;
  const Buffer<T> x(l.images * l.height * l.width * l.channels, value), bias(l.out_channels, value);
  const Buffer<T> skip(l.images * skip_height * skip_width * l.skip_channels, value);
  const Buffer<T> weight(l.out_channels * 9 * channels, value);  // [O, 3, 3, C]
  const Buffer<double> full = convolve(
      l.images, height, width, l.out_channels, channels,
      [&](int64_t n, int64_t iy, int64_t ix, int64_t c) {
        return to_double(c < l.channels
                             ? x[((n * l.height + iy) * l.width + ix) * l.channels + c]
                             : skip[((n * skip_height + iy + kMargin) * skip_width + ix + kMargin) * l.skip_channels +
                                    c - l.channels]);
      },
      [&](int64_t o, int64_t tap, int64_t c) { return to_double(weight[(o * 9 + tap) * channels + c]); },
      [&](int64_t o, double sum) { return std::max(sum + to_double(bias[o]), 0.0); });
  const int64_t y_height = height - 2 * l.crop, y_width = width - 2 * l.crop;
  const auto full_at = [&](int64_t n, int64_t y, int64_t x, int64_t o) {
    return full[((n * height + y) * width + x) * l.out_channels + o];
  };
  const Buffer<double> expected(l.images * y_height * y_width * l.out_channels, [&](int64_t i) {
    const int64_t o = i % l.out_channels, pixel = i / l.out_channels, line = pixel / y_width;
    return full_at(line / y_height, line % y_height + l.crop, pixel % y_width + l.crop, o);
  });
  const Buffer<double> expected_pooled(
      l.pools ? l.images * (height / 2) * (width / 2) * l.out_channels : 0, [&](int64_t i) {
        const int64_t o = i % l.out_channels, pixel = i / l.out_channels, line = pixel / (width / 2);
        const int64_t n = line / (height / 2), y = line % (height / 2) * 2, x = pixel % (width / 2) * 2;
        return std::max(std::max(full_at(n, y, x, o), full_at(n, y, x + 1, o)),
                        std::max(full_at(n, y + 1, x, o), full_at(n, y + 1, x + 1, o)));
      });
  for (uint64_t order = 1; order <= kOrders; ++order) {
    emulator::seed(order);
    Buffer<T> y(expected.size()), pooled(expected_pooled.size());
    ConvReluArgs args = {};
    args.x = x.data();
    args.dtype = dtype_of<T>();
    args.images = l.images, args.height = l.height, args.width = l.width;
    args.in_channels = l.channels, args.out_channels = l.out_channels;
    args.weight = weight.data();
    args.weight_stride_o = 9 * channels, args.weight_stride_c = 1;
    args.weight_stride_y = 3 * channels, args.weight_stride_x = channels;
    args.bias = bias.data(), args.relu = true;
    args.y = y.data(), args.crop = l.crop, args.pooled = l.pools ? pooled.data() : nullptr;
    args.algorithm = algorithm;
    if (l.skip_channels) {
      args.skip = {skip.data() + (kMargin * skip_width + kMargin) * l.skip_channels, l.skip_channels,
                   skip_width * l.skip_channels, skip_height * skip_width * l.skip_channels};
    }
    const std::string name = text(type_name<T>(), name_of(algorithm), ", ", name_of(l), ", order ", order);
    if (!run_on_tensor_cores(args, conv_relu_cuda_workspace(args), conv_relu_cuda, name)) continue;
    check_all_close(y, expected, rounding_of<T>(), kAbsolute, name);
    check_all_close(pooled, expected_pooled, rounding_of<T>(), kAbsolute, name + ", what is pooled");
  }
}

// The gradients of x and skip: padding 2, the kernel rotated and transposed, the outputs in two tensors; that of x, in
// every second order, masked as what went into a ReLU.
template <class T>
void data_gradient(const Layer& l, ConvAlgorithm algorithm) {
  Random random(l.height * 1000 + l.width);
  const auto value = random_values<T>(random);
  const int64_t channels = l.channels + l.skip_channels, height = l.height - 2, width = l.width - 2;
  const Buffer<T> grad(l.images * height * width * l.out_channels, value);
  const Buffer<T> weight(channels * 9 * l.out_channels, value);  // [C, 3, 3, O]
  const Buffer<double> both = convolve(
      l.images, l.height, l.width, channels, l.out_channels,
      [&](int64_t n, int64_t iy, int64_t ix, int64_t o) {
        const int64_t y = iy - 2, x = ix - 2;
        const bool is_inside = y >= 0 && y < height && x >= 0 && x < width;
        return is_inside ? to_double(grad[((n * height + y) * width + x) * l.out_channels + o]) : 0;
      },
      [&](int64_t c, int64_t tap, int64_t o) { return to_double(weight[(c * 9 + 8 - tap) * l.out_channels + o]); },
      [](int64_t, double sum) { return sum; });
  const int64_t pixels = l.images * l.height * l.width;
  const auto part = [&](int64_t first, int64_t count) {
    return Buffer<double>(pixels * count,
                          [&, first, count](int64_t i) { return both[i / count * channels + first + i % count]; });
  };
  const Buffer<T> mask(pixels * l.channels,
                       [&](int64_t) { return from_float<T>(static_cast<float>(random.integer(-1, 1))); });
  const Buffer<double> expected = part(0, l.channels), expected_rest = part(l.channels, l.skip_channels);
  for (uint64_t order = 1; order <= kOrders; ++order) {
    emulator::seed(order);
    Buffer<T> y(expected.size()), rest(expected_rest.size());
    ConvReluArgs args = {};
    args.x = grad.data();
    args.dtype = dtype_of<T>();
    args.images = l.images, args.height = height, args.width = width;
    args.in_channels = l.out_channels, args.out_channels = channels, args.padding = 2;
    args.weight = weight.data() + 8 * l.out_channels;
    args.weight_stride_o = 9 * l.out_channels, args.weight_stride_c = 1;
    args.weight_stride_y = -3 * l.out_channels, args.weight_stride_x = -l.out_channels;
    args.y = y.data(), args.y_channels = l.channels, args.y_rest = l.skip_channels ? rest.data() : nullptr;
    args.algorithm = algorithm;
    const bool masks = order % 2 == 0;
    args.mask = masks ? mask.data() : nullptr;
    const Buffer<double> wanted(expected.size(),
                                [&](int64_t i) { return masks && to_double(mask[i]) <= 0 ? 0.0 : expected[i]; });
    const std::string name =
        text(type_name<T>(), name_of(algorithm), ", data gradient, ", name_of(l), ", order ", order);
    if (!run_on_tensor_cores(args, conv_relu_cuda_workspace(args), conv_relu_cuda, name)) continue;
    check_all_close(y, wanted, rounding_of<T>(), kAbsolute, name);
    check_all_close(rest, expected_rest, rounding_of<T>(), kAbsolute, name + ", the skip's");
  }
}

// Numbers that TF32 does not have: each factor is off by at most 2^-11 of it.
void tf32_rounds() {
  Random random;
  constexpr int64_t kSide = 9, kChannels = 40, kOut = 8, kResult = kSide - 2;
  const auto value = [&](int64_t) { return random.uniform(-1, 1); };
  const Buffer<float> x(kSide * kSide * kChannels, value), weight(kOut * 9 * kChannels, value);
  const auto exact = [&](const auto& of) {
    return convolve(
        1, kResult, kResult, kOut, kChannels,
        [&](int64_t, int64_t y, int64_t column, int64_t c) { return of(x[(y * kSide + column) * kChannels + c]); },
        [&](int64_t o, int64_t tap, int64_t c) { return of(weight[(o * 9 + tap) * kChannels + c]); },
        [](int64_t, double sum) { return sum; });
  };
  const Buffer<double> wanted = exact([](double v) { return v; });
  const Buffer<double> magnitude = exact([](double v) { return std::abs(v); });
  Buffer<float> y(wanted.size());
  ConvReluArgs args = {};
  args.x = x.data(), args.weight = weight.data(), args.y = y.data();
  args.dtype = DType::float32, args.algorithm = ConvAlgorithm::mma;
  args.images = 1, args.height = args.width = kSide, args.in_channels = kChannels, args.out_channels = kOut;
  args.weight_stride_o = 9 * kChannels, args.weight_stride_c = 1;
  args.weight_stride_y = 3 * kChannels, args.weight_stride_x = kChannels;
  if (!run_on_tensor_cores(args, conv_relu_cuda_workspace(args), conv_relu_cuda, "TF32 rounds")) return;
  double worst = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double error = std::abs(y[i] - wanted[i]);
    check(error <= magnitude[i] / 1024 + kAbsolute, text("TF32: value ", i, " is off by ", error));
    worst = std::max(worst, error / magnitude[i]);
  }
  check(worst > 1e-5, "TF32 has 10 bits of mantissa, not 23");
}

}  // namespace
}  // namespace unet_fast::test

// With "wgmma" or "mma", a few layers of that: tests/test_planted_faults.py.
int main(int count, char** arguments) {
  using namespace unet_fast;
  using namespace unet_fast::test;
  if (count > 1) {
    const ConvAlgorithm algorithm = std::string(arguments[1]) == "mma" ? ConvAlgorithm::mma : ConvAlgorithm::wgmma;
    forward<BFloat16>({1, 64, 0, 64, 20, 38, 0, true}, algorithm);
    forward<BFloat16>({1, 72, 8, 72, 9, 12}, algorithm);
    forward<Float16>({1, 200, 64, 8, 5, 6}, algorithm);  // parts of sums
    // Masked; several tiles, as a warp is rarely ahead of the others.
    data_gradient<BFloat16>({1, 40, 8, 16, 5, algorithm == ConvAlgorithm::mma ? 9 : 240}, algorithm);
    if (algorithm == ConvAlgorithm::mma) tf32_rounds();
    return report();
  }
  // Around chunks of 64 channels, blocks of 64 and 128 outputs, and tiles of 8 x 32, 16 x 16, 4 x 64, 16 x 32 pixels.
  const Layer layers[] = {
      {1, 64, 0, 64, 11, 13},
      {2, 8, 0, 8, 3, 3},
      {1, 24, 0, 72, 19, 19},
      {1, 64, 64, 64, 12, 40},
      {2, 32, 32, 40, 9, 12},
      {1, 40, 72, 136, 7, 9},
      {1, 16, 0, 128, 6, 68},
      {1, 64, 0, 64, 20, 38, 2, true},
      {2, 16, 0, 136, 12, 36, 3, true},
      {1, 72, 0, 24, 36, 10, 1},
      {0, 64, 0, 64, 8, 8},
  };
  // Parts of sums: two or three, across both sources, cropped and pooled, in the data gradient.
  const Layer split[] = {
      {1, 264, 72, 24, 5, 7},
      {2, 256, 0, 72, 6, 8, 1, true},
      {1, 16, 24, 264, 5, 6},
  };
  const auto both = [](const Layer& layer, ConvAlgorithm algorithm, auto type) {
    using T = decltype(type);
    forward<T>(layer, algorithm);
    if (!layer.pools && !layer.crop) data_gradient<T>(layer, algorithm);
  };
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::wgmma, ConvAlgorithm::mma}) {
    for (const Layer& layer : layers) both(layer, algorithm, BFloat16{});
    for (const Layer& layer : split) both(layer, algorithm, Float16{});
    for (const int i : {2, 4, 8}) both(layers[i], algorithm, Float16{});
  }
  for (const int i : {1, 2, 4, 5, 8}) both(layers[i], ConvAlgorithm::mma, float{});
  both(split[0], ConvAlgorithm::mma, float{});
  tf32_rounds();
  return report();
}
