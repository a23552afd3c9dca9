// up_conv and its gradients against plain loops.
#include "ops/up_conv.h"

#include "check.h"

namespace unet_fast::test {
namespace {

template <class T>
struct Problem {
  UpConvShape shape;
  Buffer<T> x, weight, bias, grad;

  Problem(const UpConvShape& shape, Random& random)
      : shape(shape),
        x(pixels() * shape.in_channels, value(random)),
        weight(4 * shape.in_channels * shape.out_channels, value(random)),
        bias(shape.out_channels, value(random)),
        grad(4 * pixels() * shape.out_channels, value(random)) {}

  // To be rounded to TF32, which has all numbers of BFloat16, changes nothing.
  auto value(Random& random) const {
    return [&](int64_t) {
      const float value = random.uniform(-1, 1);
      return from_float<T>(shape.tf32 ? to_float(from_float<BFloat16>(value)) : value);
    };
  }
  int64_t pixels() const { return shape.images * shape.height * shape.width; }
  // Where the value of channel o lies in y that is parity (a, b) under a pixel of x.
  int64_t in_y(int64_t pixel, int64_t a, int64_t b, int64_t o) const {
    const int64_t n = pixel / shape.width / shape.height, y = pixel / shape.width % shape.height;
    const int64_t out_y = 2 * y + a, out_x = 2 * (pixel % shape.width) + b;
    return ((n * 2 * shape.height + out_y) * 2 * shape.width + out_x) * shape.out_channels + o;
  }
  double w(int64_t c, int64_t o, int64_t a, int64_t b) const {
    return to_double(weight[((c * shape.out_channels + o) * 2 + a) * 2 + b]);
  }
  double in(int64_t pixel, int64_t c) const { return to_double(x[pixel * shape.in_channels + c]); }
  double g(int64_t pixel, int64_t a, int64_t b, int64_t o) const { return to_double(grad[in_y(pixel, a, b, o)]); }
  std::string name() const {
    return text(", ", shape.images, " x ", shape.in_channels, " -> ", shape.out_channels, ", ", shape.height, " x ",
                shape.width);
  }
  double relative() const { return rounding_of<T>(); }
};

template <class T>
void forward(const Problem<T>& problem) {
  const UpConvShape& shape = problem.shape;
  Buffer<double> expected(problem.grad.size());
  for (int64_t i = 0; i < 4 * problem.pixels(); ++i) {
    const int64_t pixel = i / 4, a = i / 2 % 2, b = i % 2;
    for (int64_t o = 0; o < shape.out_channels; ++o) {
      double sum = to_double(problem.bias[o]);
      for (int64_t c = 0; c < shape.in_channels; ++c) sum += problem.in(pixel, c) * problem.w(c, o, a, b);
      expected[problem.in_y(pixel, a, b, o)] = sum;
    }
  }
  on_every_device_of<T>(up_conv_cpu, up_conv_cuda, [&](const Device<UpConvArgs>& device) {
    Buffer<T> y(problem.grad.size());
    UpConvArgs args = {shape, problem.x.data(), problem.weight.data(), problem.bias.data(), y.data(), nullptr};
    Buffer<float> workspace(device.cuda ? up_conv_cuda_workspace(args) : up_conv_cpu_workspace(args, device.threads));
    args.workspace = workspace.data();
    device.run(args);
    check_all_close(y, expected, problem.relative(), 1e-5, "forward: " + device.name + problem.name());
  });
}

template <class T>
void data_grad(const Problem<T>& problem) {
  const UpConvShape& shape = problem.shape;
  const Buffer<double> expected(problem.x.size(), [&](int64_t i) {
    const int64_t pixel = i / shape.in_channels, c = i % shape.in_channels;
    double sum = 0;
    for (int64_t o = 0; o < 4 * shape.out_channels; ++o) {
      sum += problem.g(pixel, o % 2, o / 2 % 2, o / 4) * problem.w(c, o / 4, o % 2, o / 2 % 2);
    }
    return sum;
  });
  on_every_device_of<T>(up_conv_data_grad_cpu, up_conv_data_grad_cuda, [&](const Device<UpConvDataGradArgs>& device) {
    Buffer<T> grad_x(problem.x.size());
    UpConvDataGradArgs args = {shape, problem.grad.data(), problem.weight.data(), grad_x.data(), nullptr};
    Buffer<float> workspace(device.cuda ? up_conv_data_grad_cuda_workspace(args)
                                        : up_conv_data_grad_cpu_workspace(args, device.threads));
    args.workspace = workspace.data();
    device.run(args);
    check_all_close(grad_x, expected, problem.relative(), 1e-5, "data gradient: " + device.name + problem.name());
  });
}

template <class T>
void weight_grad(const Problem<T>& problem) {
  const UpConvShape& shape = problem.shape;
  const Buffer<double> expected(problem.weight.size(), [&](int64_t i) {
    const int64_t b = i % 2, a = i / 2 % 2, o = i / 4 % shape.out_channels, c = i / 4 / shape.out_channels;
    double sum = 0;
    for (int64_t p = 0; p < problem.pixels(); ++p) sum += problem.in(p, c) * problem.g(p, a, b, o);
    return sum;
  });
  const Buffer<double> expected_bias(shape.out_channels, [&](int64_t o) {
    double sum = 0;
    for (int64_t i = 0; i < 4 * problem.pixels(); ++i) sum += problem.g(i / 4, i / 2 % 2, i % 2, o);
    return sum;
  });
  on_every_device_of<T>(
      up_conv_weight_grad_cpu, up_conv_weight_grad_cuda, [&](const Device<UpConvWeightGradArgs>& device) {
        Buffer<T> grad_weight(problem.weight.size()), grad_bias(shape.out_channels);
        UpConvWeightGradArgs args = {
            shape, problem.grad.data(), problem.x.data(), grad_weight.data(), grad_bias.data(), nullptr};
        Buffer<float> workspace(device.cuda ? up_conv_weight_grad_cuda_workspace(args)
                                            : up_conv_weight_grad_cpu_workspace(args, device.threads));
        args.workspace = workspace.data();
        device.run(args);
        check_all_close(grad_weight, expected, problem.relative(), 1e-4, "weight: " + device.name + problem.name());
        check_all_close(grad_bias, expected_bias, problem.relative(), 1e-4, "bias: " + device.name + problem.name());
      });
}

template <class T>
void equals_plain_loops(UpConvShape shape) {
  Random random;
  shape.dtype = dtype_of<T>();
  const Problem<T> problem(shape, random);
  forward(problem);
  data_grad(problem);
  weight_grad(problem);
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  const UpConvShape shapes[] = {
      {DType::float32, 1, 1, 1, 1, 1},
      {DType::float32, 2, 3, 7, 3, 5},
      {DType::float32, 1, 2, 15, 16, 8},
      {DType::float32, 1, 4, 6, 33, 9},
      {DType::float32, 0, 4, 4, 5, 6},
      {DType::float32, 1, 3, 130, 17, 20},
      {DType::float32, 2, 5, 1, 8, 4},
      {DType::float32, 1, 40, 30, 4, 3},
      // On tensor cores: around tiles of 8 x 16 pixels, chunks of 64 channels, blocks of 64 and 128 outputs.
      {DType::float32, 1, 3, 5, 8, 8},
      {DType::float32, 2, 9, 17, 72, 40},
      {DType::float32, 3, 13, 33, 8, 16},  // shares of several tiles
  };
  for (const UpConvShape& shape : shapes) {
    equals_plain_loops<float>(shape);
    UpConvShape rounded = shape;
    rounded.tf32 = true;
    if (shape.in_channels % 8 == 0 && shape.out_channels % 8 == 0) equals_plain_loops<float>(rounded);
    equals_plain_loops<BFloat16>(shape);
    equals_plain_loops<Float16>(shape);
  }
  return report();
}
