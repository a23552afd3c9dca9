// conv_relu_weight_grad against a plain loop over all pixels.
#include "ops/conv_relu_weight_grad.h"

#include "check.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t images, channels, out_channels, height, width;
};

template <class T>
void equals_plain_loop(const Shape& shape, bool gated) {
  Random random;
  const auto value = [&](int64_t) { return from_float<T>(random.uniform(-1, 1)); };
  const int64_t c_count = shape.channels, o_count = shape.out_channels;
  const int64_t height = shape.height - 2, width = shape.width - 2, pixels = shape.images * height * width;
  const Buffer<T> x(shape.images * shape.height * shape.width * c_count, value);
  const Buffer<T> grad(pixels * o_count, value), gate(pixels * o_count, value);
  const auto gradient = [&](int64_t pixel, int64_t o) {
    return gated && to_double(gate[pixel * o_count + o]) <= 0 ? 0 : to_double(grad[pixel * o_count + o]);
  };
  const Buffer<double> expected(o_count * c_count * 9, [&](int64_t i) {
    const int64_t tap = i % 9, c = i / 9 % c_count, o = i / 9 / c_count;
    double sum = 0;
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      const int64_t out_x = pixel % width, y = pixel / width % height + tap / 3, n = pixel / width / height;
      const int64_t at = ((n * shape.height + y) * shape.width + out_x + tap % 3) * c_count + c;
      sum += to_double(x[at]) * gradient(pixel, o);
    }
    return sum;
  });
  const Buffer<double> expected_bias(o_count, [&](int64_t o) {
    double sum = 0;
    for (int64_t pixel = 0; pixel < pixels; ++pixel) sum += gradient(pixel, o);
    return sum;
  });
  const double relative = rounding_of<T>();

  on_every_device_of<T>(
      conv_relu_weight_grad_cpu, conv_relu_weight_grad_cuda, [&](const Device<ConvReluWeightGradArgs>& device) {
        Buffer<T> grad_weight(9 * c_count * o_count), grad_bias(o_count);
        ConvReluWeightGradArgs args = {
            .x = x.data(),
            .grad = grad.data(),
            .gate = gated ? gate.data() : nullptr,
            .dtype = dtype_of<T>(),
            .images = shape.images,
            .height = shape.height,
            .width = shape.width,
            .in_channels = c_count,
            .out_channels = o_count,
            .grad_weight = grad_weight.data(),
            .grad_bias = grad_bias.data(),
            .workspace = nullptr,
            .algorithm = ConvAlgorithm::direct,  // test_winograd.cpp compares the other one with it
        };
        Buffer<float> workspace(device.cuda ? conv_relu_weight_grad_cuda_workspace(args)
                                            : conv_relu_weight_grad_cpu_workspace(args, device.threads));
        args.workspace = workspace.data();
        device.run(args);
        const std::string what = text(device.name, ", ", shape.images, " x ", c_count, " -> ", o_count, ", ",
                                      shape.height, " x ", shape.width);
        check_all_close(grad_weight, expected, relative, 1e-4, "weight: " + what);
        check_all_close(grad_bias, expected_bias, relative, 1e-4, "bias: " + what);
      });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  // Around blocks of 4, 8, 16, 32 and 64 channels and segments of 32 and of up to 128 pixels; 2 x 47 x 100 is several
  // chunks.
  const Shape shapes[] = {{1, 1, 1, 3, 3},   {2, 1, 17, 4, 9},   {1, 2, 3, 5, 140}, {1, 8, 8, 4, 17}, {1, 16, 16, 3, 8},
                          {3, 5, 33, 4, 15}, {1, 20, 24, 3, 31}, {0, 4, 4, 5, 5},   {1, 22, 5, 5, 7}, {2, 1, 40, 9, 70},
                          {1, 3, 24, 5, 67}, {2, 2, 3, 47, 100}, {2, 1, 72, 6, 37}, {1, 4, 16, 9, 35}};
  for (const Shape& shape : shapes) {
    for (const bool gated : {false, true}) {
      equals_plain_loop<float>(shape, gated);
      equals_plain_loop<BFloat16>(shape, gated);
      equals_plain_loop<Float16>(shape, gated);
    }
  }
  return report();
}
