// head and its gradients against plain loops.
#include "ops/head.h"

#include <algorithm>
#include <cmath>

#include "check.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t images, channels, classes, height, width;
  int64_t pixels() const { return images * height * width; }
  std::string name() const { return text(", ", images, " x ", channels, " -> ", classes, ", ", height, " x ", width); }
};

void find_softmax(double* scores, int64_t classes) {
  const double top = *std::max_element(scores, scores + classes);
  double sum = 0;
  for (int64_t k = 0; k < classes; ++k) sum += scores[k] = std::exp(scores[k] - top);
  for (int64_t k = 0; k < classes; ++k) scores[k] /= sum;
}

// Transposed: the weight is stored as [C, K], as in the data gradient, which has no bias either.
// Y: of the result, float for the softmax.
template <class T, class Y = T>
void product(const Shape& shape, bool transposed, bool softmax = false) {
  Random random;
  const auto value = [&](int64_t) { return from_float<T>(random.uniform(-1, 1)); };
  const Buffer<T> x(shape.pixels() * shape.channels, value), weight(shape.channels * shape.classes, value);
  const Buffer<T> bias(shape.classes, value);
  const int64_t stride_k = transposed ? 1 : shape.channels, stride_c = transposed ? shape.classes : 1;
  Buffer<double> expected(shape.pixels() * shape.classes, [&](int64_t i) {
    const int64_t pixel = i / shape.classes, k = i % shape.classes;
    double sum = transposed ? 0 : to_double(bias[k]);
    for (int64_t c = 0; c < shape.channels; ++c) {
      sum += to_double(x[pixel * shape.channels + c]) * to_double(weight[k * stride_k + c * stride_c]);
    }
    return sum;
  });
  for (int64_t i = 0; softmax && i < shape.pixels(); ++i) {
    find_softmax(expected.data() + i * shape.classes, shape.classes);
  }
  on_every_device_of<T>(head_cpu, head_cuda, [&](const Device<HeadArgs>& device) {
    Buffer<Y> y(expected.size());
    HeadArgs args = {
        .x = x.data(),
        .dtype = dtype_of<T>(),
        .images = shape.images,
        .height = shape.height,
        .width = shape.width,
        .channels = shape.channels,
        .classes = shape.classes,
        .weight = weight.data(),
        .weight_stride_k = stride_k,
        .weight_stride_c = stride_c,
        .bias = transposed ? nullptr : bias.data(),
        .softmax = softmax,
        .y = y.data(),
        .workspace = nullptr,
    };
    Buffer<float> workspace(device.cuda ? 0 : head_cpu_workspace(args, device.threads));
    args.workspace = workspace.data();
    device.run(args);
    check_all_close(y, expected, rounding_of<Y>(), 1e-5, device.name + shape.name() + (softmax ? ", softmax" : ""));
  });
}

// `data`, `weights`: whether these gradients are wanted.
template <class T>
void backward(const Shape& shape, bool data, bool weights) {
  Random random;
  const auto value = [&](int64_t) { return from_float<T>(random.uniform(-1, 1)); };
  const Buffer<T> x(shape.pixels() * shape.channels, value), grad(shape.pixels() * shape.classes, value);
  const Buffer<T> weight(shape.channels * shape.classes, value);
  const Buffer<double> expected_x(x.size(), [&](int64_t i) {
    const int64_t pixel = i / shape.channels, c = i % shape.channels;
    double sum = 0;
    for (int64_t k = 0; k < shape.classes; ++k) {
      sum += to_double(grad[pixel * shape.classes + k]) * to_double(weight[k * shape.channels + c]);
    }
    return sum;
  });
  const Buffer<double> expected(shape.classes * shape.channels, [&](int64_t i) {
    const int64_t k = i / shape.channels, c = i % shape.channels;
    double sum = 0;
    for (int64_t p = 0; p < shape.pixels(); ++p) {
      sum += to_double(x[p * shape.channels + c]) * to_double(grad[p * shape.classes + k]);
    }
    return sum;
  });
  const Buffer<double> expected_bias(shape.classes, [&](int64_t k) {
    double sum = 0;
    for (int64_t p = 0; p < shape.pixels(); ++p) sum += to_double(grad[p * shape.classes + k]);
    return sum;
  });
  const double relative = rounding_of<T>();
  on_every_device_of<T>(head_backward_cpu, head_backward_cuda, [&](const Device<HeadBackwardArgs>& device) {
    Buffer<T> grad_x(x.size()), grad_weight(expected.size()), grad_bias(shape.classes);
    HeadBackwardArgs args = {
        .grad = grad.data(),
        .x = x.data(),
        .weight = weight.data(),
        .dtype = dtype_of<T>(),
        .images = shape.images,
        .height = shape.height,
        .width = shape.width,
        .channels = shape.channels,
        .classes = shape.classes,
        .grad_x = data ? grad_x.data() : nullptr,
        .grad_weight = weights ? grad_weight.data() : nullptr,
        .grad_bias = grad_bias.data(),
        .workspace = nullptr,
    };
    Buffer<float> workspace(device.cuda ? head_backward_cuda_workspace(args)
                                        : head_backward_cpu_workspace(args, device.threads));
    args.workspace = workspace.data();
    device.run(args);
    if (data) check_all_close(grad_x, expected_x, relative, 1e-5, "data: " + device.name + shape.name());
    if (!weights) return;
    check_all_close(grad_weight, expected, relative, 1e-4, "weight: " + device.name + shape.name());
    check_all_close(grad_bias, expected_bias, relative, 1e-4, "bias: " + device.name + shape.name());
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  const Shape shapes[] = {{1, 1, 1, 1, 1},   {2, 3, 2, 4, 7},    {1, 8, 2, 3, 31},   {1, 16, 5, 4, 9},  {0, 4, 4, 5, 5},
                          {1, 33, 17, 3, 8}, {1, 64, 65, 5, 13}, {1, 2, 3, 1, 1300}, {2, 5, 20, 6, 2},  {1, 7, 2, 4, 0},
                          {2, 64, 2, 9, 41}, {1, 24, 3, 7, 37},  {3, 72, 8, 5, 27},  {1, 256, 1, 3, 50}};
  for (const Shape& shape : shapes) {
    for (const bool transposed : {false, true}) {
      product<float>(shape, transposed);
      product<BFloat16>(shape, transposed);
      product<Float16>(shape, transposed);
    }
    product<float>(shape, false, true);
    product<BFloat16, float>(shape, false, true);
    product<Float16, float>(shape, false, true);
    for (const bool data : {true, false}) {
      backward<float>(shape, data, true);
      backward<BFloat16>(shape, data, true);
    }
    backward<BFloat16>(shape, true, false);
    backward<Float16>(shape, true, true);
  }
  return report();
}
