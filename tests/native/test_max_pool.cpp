// max_pool and its gradient against plain loops, on values of which many are equal.
#include "ops/max_pool.h"

#include "check.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t images, channels, height, width;
};

template <class T>
void equals_plain_loop(const Shape& shape) {
  Random random;
  const int64_t c_count = shape.channels, height = shape.height / 2, width = shape.width / 2;
  const int64_t pooled = shape.images * height * width * c_count;
  const int64_t values = shape.images * shape.height * shape.width * c_count;
  const Buffer<T> x(values, [&](int64_t) { return from_float<T>(static_cast<float>(random.integer(-2, 2))); });
  const Buffer<T> grad(pooled, [&](int64_t) { return from_float<T>(random.uniform(-1, 1)); });
  Buffer<double> expected(pooled), expected_grad(values, [](int64_t) { return 0.0; });
  for (int64_t i = 0; i < pooled; ++i) {
    const int64_t c = i % c_count, out_x = i / c_count % width, line = i / c_count / width;  // line: image and row
    int64_t best = -1;
    for (int64_t a = 0; a < 4; ++a) {
      const int64_t at = ((2 * line + a / 2) * shape.width + 2 * out_x + a % 2) * c_count + c;
      if (best < 0 || to_double(x[at]) > to_double(x[best])) best = at;
    }
    expected[i] = to_double(x[best]);
    expected_grad[best] = to_double(grad[i]);
  }
  const auto name = [&](const std::string& device) {
    return text(device, ", ", shape.images, " x ", c_count, ", ", shape.height, " x ", shape.width);
  };
  on_every_device_of<T>(max_pool_cpu, max_pool_cuda, [&](const Device<MaxPoolArgs>& device) {
    Buffer<T> y(pooled);
    device.run({x.data(), dtype_of<T>(), shape.images, shape.height, shape.width, c_count, y.data()});
    check_all_close(y, expected, 0, 0, name(device.name));
  });
  on_every_device_of<T>(max_pool_backward_cpu, max_pool_backward_cuda, [&](const Device<MaxPoolBackwardArgs>& device) {
    Buffer<T> grad_x(values);
    device.run({grad.data(), x.data(), dtype_of<T>(), shape.images, shape.height, shape.width, c_count, grad_x.data()});
    check_all_close(grad_x, expected_grad, 0, 0, "gradient: " + name(device.name));
  });
}

// With what comes back past the pool, and gated by a ReLU.
template <class T>
void adds_the_skip(const Shape& shape, int64_t crop) {
  Random random;
  const int64_t c_count = shape.channels, height = shape.height - 2 * crop, width = shape.width - 2 * crop;
  const int64_t values = shape.images * shape.height * shape.width * c_count;
  const Buffer<T> x(values, [&](int64_t) { return from_float<T>(static_cast<float>(random.integer(-2, 2))); });
  const Buffer<T> grad(values / 4, [&](int64_t) { return from_float<T>(random.uniform(-1, 1)); });
  const Buffer<T> skip(shape.images * height * width * c_count,
                       [&](int64_t) { return from_float<T>(random.uniform(-1, 1)); });
  on_every_device_of<T>(max_pool_backward_cpu, max_pool_backward_cuda, [&](const Device<MaxPoolBackwardArgs>& device) {
    Buffer<T> plain(values), grad_x(values);
    MaxPoolBackwardArgs args = {grad.data(),  x.data(),    dtype_of<T>(), shape.images,
                                shape.height, shape.width, c_count,       plain.data()};
    device.run(args);
    args.grad_x = grad_x.data();
    args.skip = skip.data();
    args.crop = crop;
    args.rectified = true;
    device.run(args);
    Buffer<double> expected(values, [&](int64_t i) {
      const int64_t c = i % c_count, column = i / c_count % shape.width - crop, line = i / c_count / shape.width;
      const int64_t row = line % shape.height - crop;
      float sum = to_float(plain[i]);
      if (row >= 0 && row < height && column >= 0 && column < width) {
        sum += to_float(skip[((line / shape.height * height + row) * width + column) * c_count + c]);
      }
      return to_float(x[i]) <= 0 ? 0.0 : to_double(from_float<T>(sum));
    });
    check_all_close(grad_x, expected, 0, 0, text("with skip, crop ", crop, ": ", device.name));
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  const Shape shapes[] = {{1, 1, 2, 2}, {2, 3, 4, 10}, {1, 16, 34, 6}, {3, 17, 8, 4}, {0, 4, 4, 4}, {1, 0, 4, 4}};
  for (const Shape& shape : shapes) {
    equals_plain_loop<float>(shape);
    equals_plain_loop<BFloat16>(shape);
    equals_plain_loop<Float16>(shape);
  }
  adds_the_skip<float>({2, 3, 8, 10}, 2);
  adds_the_skip<float>({1, 17, 6, 4}, 0);
  adds_the_skip<BFloat16>({1, 16, 6, 8}, 1);
  adds_the_skip<Float16>({1, 16, 6, 8}, 1);
  return report();
}
