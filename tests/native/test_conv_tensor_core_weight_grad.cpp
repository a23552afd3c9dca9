// conv_relu_weight_grad on emulated tensor cores: two sources, odd sizes, several shares of the pixels.
#include "tensor_core_layers.h"

namespace unet_fast::test {
namespace {

// The gradients of weight and bias, sums over all pixels of two sources. `rounds`: of numbers that TF32 does not have;
// each factor is off by at most 2^-11 of it.
template <class T>
void weight_gradient(const Layer& l, ConvAlgorithm algorithm, bool rounds = false) {
  Random random(l.height * 1000 + l.width);
  const auto fitting = random_values<T>(random);
  const auto value = [&](int64_t i) { return rounds ? from_float<T>(random.uniform(-1, 1)) : fitting(i); };
  const int64_t height = l.height - 2, width = l.width - 2, channels = l.channels + l.skip_channels;
  const Buffer<T> x(l.images * l.height * l.width * l.channels, value);
  const Buffer<T> skip(l.images * l.height * l.width * l.skip_channels, value);
  const Buffer<T> grad(l.images * height * width * l.out_channels, value);
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
    Buffer<T> grad_weight(sums.size()), grad_bias(bias_sums.size());
    ConvReluWeightGradArgs args = {};
    args.x = x.data(), args.grad = grad.data(), args.dtype = dtype_of<T>();
    args.images = l.images, args.height = l.height, args.width = l.width;
    args.in_channels = l.channels, args.out_channels = l.out_channels;
    args.grad_weight = grad_weight.data(), args.grad_bias = grad_bias.data();
    args.algorithm = algorithm;
    if (l.skip_channels) {
      args.skip = {skip.data(), l.skip_channels, l.width * l.skip_channels, l.height * l.width * l.skip_channels};
    }
    const std::string name =
        text(type_name<T>(), name_of(algorithm), ", weight gradient, ", name_of(l), ", order ", order);
    const int64_t workspace = conv_relu_weight_grad_cuda_workspace(args);
    if (!run_on_tensor_cores(args, workspace, conv_relu_weight_grad_cuda, name)) continue;
    const double absolute = rounds ? static_cast<double>(l.images * height * width) / 1024 : 2e-4;
    check_all_close(grad_weight, sums, rounding_of<T>(), absolute, name);
    check_all_close(grad_bias, bias_sums, rounding_of<T>(), 2e-4, name + ", the bias's");
  }
}

}  // namespace
}  // namespace unet_fast::test

// With "wgmma" or "mma", a few layers of that: tests/test_planted_faults.py.
int main(int count, char** arguments) {
  using namespace unet_fast;
  using namespace unet_fast::test;
  if (count > 1) {
    const ConvAlgorithm algorithm = std::string(arguments[1]) == "mma" ? ConvAlgorithm::mma : ConvAlgorithm::wgmma;
    weight_gradient<BFloat16>({1, 64, 0, 64, 20, 38}, algorithm);
    weight_gradient<Float16>({1, 72, 8, 72, 9, 12}, algorithm);
    if (algorithm == ConvAlgorithm::mma) weight_gradient<float>({1, 40, 8, 40, 9, 20}, algorithm, true);
    return report();
  }
  // Around blocks of 64 channels and tiles of 8 x 16, 4 x 16 or 4 x 32 pixels; the last is many shares of several
  // tiles.
  const Layer layers[] = {
      {1, 64, 0, 64, 11, 13},  {2, 8, 0, 8, 3, 3},     {1, 24, 0, 72, 19, 19},
      {1, 64, 64, 64, 12, 40}, {2, 32, 32, 40, 9, 12}, {1, 40, 72, 136, 7, 9},
      {1, 16, 0, 128, 6, 68},  {0, 64, 0, 64, 8, 8},   {3, 8, 0, 16, 30, 45},
  };
  for (const Layer& layer : layers) {
    for (const ConvAlgorithm algorithm : {ConvAlgorithm::wgmma, ConvAlgorithm::mma}) {
      weight_gradient<BFloat16>(layer, algorithm);
      weight_gradient<Float16>(layer, algorithm);
    }
    weight_gradient<float>(layer, ConvAlgorithm::mma);
    weight_gradient<BFloat16>(layer, ConvAlgorithm::direct);
  }
  weight_gradient<float>({2, 16, 8, 24, 7, 9}, ConvAlgorithm::mma, true);
  return report();
}
