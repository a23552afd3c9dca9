// conv_relu on emulated tensor cores against a plain loop in double: two sources, odd sizes, cropped and pooled
// results, and the data gradient; each under several orders of threads and copies, into poisoned memory.
#include <algorithm>

#include "check.h"
#include "cuda/conv_tiles.h"
#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"

namespace unet_fast::test {
namespace {

constexpr uint64_t kOrders = 2;

struct Layer {
  int64_t images, channels, skip_channels, out_channels, height, width;
  int64_t crop = 0;
  bool pools = false;
};

std::string name_of(const Layer& l) {
  return text(l.images, " x ", l.channels, "+", l.skip_channels, " -> ", l.out_channels, ", ", l.height, " x ", l.width,
              ", crop ", l.crop, l.pools ? ", pooled" : "");
}

const char* name_of(ConvAlgorithm algorithm) {
  return algorithm == ConvAlgorithm::wgmma ? "wgmma" : algorithm == ConvAlgorithm::mma ? "mma" : "direct";
}

// The result as it is before it is rounded, [N, H, W, O]: `input(n, y, x, c)` is 0 outside, `weight(o, tap, c)`.
template <class Input, class Weight, class Finish>
Buffer<double> convolve(int64_t images, int64_t height, int64_t width, int64_t out_channels, int64_t channels,
                        const Input& input, const Weight& weight, const Finish& finish) {
  Buffer<double> y(images * height * width * out_channels);
  std::vector<double> patch(9 * channels);
  for (int64_t pixel = 0; pixel < images * height * width; ++pixel) {
    const int64_t x = pixel % width, line = pixel / width;
    for (int64_t k = 0; k < 9 * channels; ++k) {
      const int64_t tap = k / channels;
      patch[k] = input(line / height, line % height + tap / 3, x + tap % 3, k % channels);
    }
    for (int64_t o = 0; o < out_channels; ++o) {
      double sum = 0;
      for (int64_t k = 0; k < 9 * channels; ++k) sum += patch[k] * weight(o, k / channels, k % channels);
      y[pixel * out_channels + o] = finish(o, sum);
    }
  }
  return y;
}

constexpr double kRounding = 1.0 / 256, kAbsolute = 1e-4;  // of one bfloat16, and of sums in float32

void forward(const Layer& l, ConvAlgorithm algorithm) {
  Random random(l.height * 1000 + l.width);
  const auto value = [&](int64_t) { return from_float<BFloat16>(random.uniform(-1, 1)); };
  constexpr int64_t kMargin = 2;  // the skip is a window of larger images
  const int64_t skip_height = l.height + 2 * kMargin, skip_width = l.width + 2 * kMargin + 1;
  const int64_t channels = l.channels + l.skip_channels, height = l.height - 2, width = l.width - 2;
  const Buffer<BFloat16> x(l.images * l.height * l.width * l.channels, value), bias(l.out_channels, value);
  const Buffer<BFloat16> skip(l.images * skip_height * skip_width * l.skip_channels, value);
  const Buffer<BFloat16> weight(l.out_channels * 9 * channels, value);  // [O, 3, 3, C]
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
    Buffer<BFloat16> y(expected.size()), pooled(expected_pooled.size());
    ConvReluArgs args = {};
    args.x = x.data();
    args.dtype = DType::bfloat16;
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
    const std::string name = text(name_of(algorithm), ", ", name_of(l), ", order ", order);
    const char* error = conv_relu_cuda(args, Stream{});
    check(!error, text(name, ": ", error ? error : ""));
    if (error) continue;
    check_all_close(y, expected, kRounding, kAbsolute, name);
    check_all_close(pooled, expected_pooled, kRounding, kAbsolute, name + ", what is pooled");
  }
}

// The gradients of x and skip: padding 2, the kernel rotated and transposed, the outputs in two tensors.
void data_gradient(const Layer& l, ConvAlgorithm algorithm) {
  Random random(l.height * 1000 + l.width);
  const auto value = [&](int64_t) { return from_float<BFloat16>(random.uniform(-1, 1)); };
  const int64_t channels = l.channels + l.skip_channels, height = l.height - 2, width = l.width - 2;
  const Buffer<BFloat16> grad(l.images * height * width * l.out_channels, value);
  const Buffer<BFloat16> weight(channels * 9 * l.out_channels, value);  // [C, 3, 3, O]
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
  const Buffer<double> expected = part(0, l.channels), expected_rest = part(l.channels, l.skip_channels);
  for (uint64_t order = 1; order <= kOrders; ++order) {
    emulator::seed(order);
    Buffer<BFloat16> y(expected.size()), rest(expected_rest.size());
    ConvReluArgs args = {};
    args.x = grad.data();
    args.dtype = DType::bfloat16;
    args.images = l.images, args.height = height, args.width = width;
    args.in_channels = l.out_channels, args.out_channels = channels, args.padding = 2;
    args.weight = weight.data() + 8 * l.out_channels;
    args.weight_stride_o = 9 * l.out_channels, args.weight_stride_c = 1;
    args.weight_stride_y = -3 * l.out_channels, args.weight_stride_x = -l.out_channels;
    args.y = y.data(), args.y_channels = l.channels, args.y_rest = l.skip_channels ? rest.data() : nullptr;
    args.algorithm = algorithm;
    const std::string name = text(name_of(algorithm), ", data gradient, ", name_of(l), ", order ", order);
    const char* error = conv_relu_cuda(args, Stream{});
    check(!error, text(name, ": ", error ? error : ""));
    if (error) continue;
    check_all_close(y, expected, kRounding, kAbsolute, name);
    check_all_close(rest, expected_rest, kRounding, kAbsolute, name + ", the skip's");
  }
}

// The gradients of weight and bias, sums over all pixels of two sources.
void weight_gradient(const Layer& l, ConvAlgorithm algorithm) {
  Random random(l.height * 1000 + l.width);
  const auto value = [&](int64_t) { return from_float<BFloat16>(random.uniform(-1, 1)); };
  const int64_t height = l.height - 2, width = l.width - 2, channels = l.channels + l.skip_channels;
  const Buffer<BFloat16> x(l.images * l.height * l.width * l.channels, value);
  const Buffer<BFloat16> skip(l.images * l.height * l.width * l.skip_channels, value);
  const Buffer<BFloat16> grad(l.images * height * width * l.out_channels, value);
  const auto pixel_of = [&](int64_t n, int64_t y, int64_t x) { return (n * l.height + y) * l.width + x; };
  std::vector<double> sums(9 * channels * l.out_channels), bias_sums(l.out_channels);
  for (int64_t pixel = 0; pixel < l.images * height * width; ++pixel) {
    const int64_t line = pixel / width, n = line / height;
    for (int64_t o = 0; o < l.out_channels; ++o) bias_sums[o] += to_double(grad[pixel * l.out_channels + o]);
    for (int64_t k = 0; k < 9 * channels; ++k) {
      const int64_t tap = k % 9, c = k / 9, at = pixel_of(n, line % height + tap / 3, pixel % width + tap % 3);
      const double factor =
          to_double(c < l.channels ? x[at * l.channels + c] : skip[at * l.skip_channels + c - l.channels]);
      for (int64_t o = 0; o < l.out_channels; ++o) {
        sums[o * 9 * channels + k] += factor * to_double(grad[pixel * l.out_channels + o]);
      }
    }
  }
  for (uint64_t order = 1; order <= kOrders; ++order) {
    emulator::seed(order);
    Buffer<BFloat16> grad_weight(sums.size()), grad_bias(bias_sums.size());
    ConvReluWeightGradArgs args = {};
    args.x = x.data(), args.grad = grad.data(), args.dtype = DType::bfloat16;
    args.images = l.images, args.height = l.height, args.width = l.width;
    args.in_channels = l.channels, args.out_channels = l.out_channels;
    args.grad_weight = grad_weight.data(), args.grad_bias = grad_bias.data();
    args.algorithm = algorithm;
    if (l.skip_channels) {
      args.skip = {skip.data(), l.skip_channels, l.width * l.skip_channels, l.height * l.width * l.skip_channels};
    }
    Buffer<float> workspace(conv_relu_weight_grad_cuda_workspace(args));
    args.workspace = workspace.data();
    const std::string name = text(name_of(algorithm), ", weight gradient, ", name_of(l), ", order ", order);
    const char* error = conv_relu_weight_grad_cuda(args, Stream{});
    check(!error, text(name, ": ", error ? error : ""));
    if (error) continue;
    check_all_close(grad_weight, sums, kRounding, 2e-4, name);
    check_all_close(grad_bias, bias_sums, kRounding, 2e-4, name + ", the bias's");
  }
}

void tiles_cover_every_result_once() {
  for (const int64_t height : {1, 7, 8, 28, 33, 54}) {
    for (const int64_t width : {1, 8, 30, 57, 130}) {
      for (const int64_t channels : {8, 64, 72, 256}) {
        for (const bool pools : {false, true}) {
          const ConvTiles tiles = conv_tiles(2, height, width, channels, pools);
          const std::string name = text(height, " x ", width, ", ", channels, " channels");
          check_equal(tiles.width * tiles.height, ConvTiles::kPixels, name + ": pixels of a warpgroup");
          check(tiles.width % 8 == 0 && (!pools || tiles.width == kConvPooledWidth), name + ": the tile's width");
          const int slab = (tiles.tile_height() + 2) * tiles.width;
          check(slab <= (tiles.channel_groups == 2 ? 384 : 576), name + ": the slab fits");
          std::vector<int> times(2 * height * width * channels);
          for (int i = 0; i < tiles.count(); ++i) {
            const ConvTile tile = tiles[i];
            for (int64_t y = tile.y; y < tile.y + tiles.tile_height() && y < height; ++y) {
              for (int64_t x = tile.x; x < tile.x + tiles.width && x < width; ++x) {
                for (int64_t c = tile.channel; c < tile.channel + tiles.tile_channels() && c < channels; ++c) {
                  ++times[((tile.image * height + y) * width + x) * channels + c];
                }
              }
            }
          }
          check(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }), name + ": each result once");
        }
      }
    }
  }
}

void the_table_chooses() {
  alignas(16) static BFloat16 memory[64];
  ConvReluArgs args = {};
  args.x = args.weight = args.y = memory;
  args.dtype = DType::bfloat16, args.images = 1, args.height = args.width = 5, args.in_channels = 8;
  args.out_channels = 16;
  const auto refusal = [&](ConvAlgorithm algorithm, int capability) -> std::string {
    emulator::use_device(capability, 3);
    args.algorithm = algorithm;
    const char* refusal = conv_relu_cuda_refuses(args, 0);
    return refusal ? refusal : "";
  };
  const auto fuses = [&](int capability) {
    emulator::use_device(capability, 3);
    args.algorithm = ConvAlgorithm::automatic;
    return conv_relu_cuda_fuses(args, 0);
  };
  for (const int capability : {80, 86, 89, 90, 100, 120}) {
    check(fuses(capability), text("tensor cores of sm_", capability));
    check_equal(refusal(ConvAlgorithm::mma, capability), "", "mma");
    check_equal(refusal(ConvAlgorithm::wgmma, capability),
                capability == 90 ? "" : "is for GPUs of compute capability 9.0", "wgmma");
  }
  check(!fuses(75), "sm_75 has no bfloat16");
  check_equal(refusal(ConvAlgorithm::winograd, 90), "is not for CUDA", "winograd");
  check_equal(refusal(ConvAlgorithm::automatic, 75), "", "direct takes what nothing else does");
  args.in_channels = 12;
  check(!fuses(90), "12 channels");
  check_equal(refusal(ConvAlgorithm::wgmma, 90), "is for numbers of channels that are multiples of 8", "12 channels");
  check_equal(refusal(ConvAlgorithm::direct, 90), "", "direct takes 12 channels");
  args.in_channels = 8, args.crop = 1;
  check_equal(refusal(ConvAlgorithm::direct, 90), "neither reads a skip, nor crops, nor pools", "direct crops");
  args.crop = 0, args.x = memory + 1;
  check_equal(refusal(ConvAlgorithm::mma, 90), "is for tensors that begin at multiples of 16 bytes", "alignment");
  args.x = memory, args.dtype = DType::float32;
  check_equal(refusal(ConvAlgorithm::mma, 90), "is for bfloat16", "float32");
  check_equal(text(conv_relu_cuda(args, Stream{})), "is for bfloat16", "an impossible request is an error");
  emulator::use_device(90, 3);
}

}  // namespace
}  // namespace unet_fast::test

// With an argument, one of "wgmma", "mma" and "weight_gradient", a few layers of that: tests/test_planted_faults.py.
int main(int count, char** arguments) {
  using namespace unet_fast;
  using namespace unet_fast::test;
  if (count > 1) {
    const std::string part = arguments[1];
    for (const Layer& layer : {Layer{1, 64, 0, 64, 20, 38, 0, true}, Layer{1, 72, 8, 72, 9, 12}}) {
      if (part == "weight_gradient") {
        weight_gradient(layer, ConvAlgorithm::wgmma);
      } else {
        forward(layer, part == "mma" ? ConvAlgorithm::mma : ConvAlgorithm::wgmma);
      }
    }
    return report();
  }
  tiles_cover_every_result_once();
  the_table_chooses();
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
  for (const Layer& layer : layers) {
    const bool is_whole = !layer.pools && !layer.crop;
    for (const ConvAlgorithm algorithm : {ConvAlgorithm::wgmma, ConvAlgorithm::mma}) {
      forward(layer, algorithm);
      if (is_whole) data_gradient(layer, algorithm);
    }
    for (const ConvAlgorithm algorithm : {ConvAlgorithm::wgmma, ConvAlgorithm::direct}) {
      if (is_whole) weight_gradient(layer, algorithm);
    }
  }
  weight_gradient({3, 8, 0, 16, 30, 45}, ConvAlgorithm::wgmma);  // many shares of several tiles
  return report();
}
