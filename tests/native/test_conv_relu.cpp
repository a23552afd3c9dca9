// conv_relu against a plain loop: forward, and as the data gradient (gate, padding 2, rotated and transposed kernel).
#include "ops/conv_relu.h"

#include "check.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t images, channels, out_channels, height, width, padding;
};

template <class T>
void equals_plain_loop(const Shape& shape, bool gated, bool transposed, bool relu) {
  Random random;
  const auto value = [&](int64_t) { return from_float<T>(random.uniform(-1, 1)); };
  const int64_t c_count = shape.channels, o_count = shape.out_channels;
  const int64_t height = shape.height + 2 * shape.padding - 2, width = shape.width + 2 * shape.padding - 2;
  const int64_t pixels = shape.images * shape.height * shape.width, values = shape.images * height * width * o_count;
  const Buffer<T> x(pixels * c_count, value), gate(pixels * c_count, value), bias(o_count, value);
  const Buffer<T> weight(9 * c_count * o_count, value);
  // Transposed: stored as [C, O, 3, 3] and rotated by 180 degrees.
  const int64_t stride_o = transposed ? 9 : 9 * c_count, stride_c = transposed ? 9 * o_count : 9;
  const int64_t first_tap = transposed ? 8 : 0, direction = transposed ? -1 : 1;

  const Buffer<double> expected(values, [&](int64_t i) {
    const int64_t o = i % o_count, out_x = i / o_count % width, line = i / o_count / width;
    const int64_t out_y = line % height, n = line / height;
    double sum = relu ? to_double(bias[o]) : 0;
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t y = out_y + tap / 3 - shape.padding, in_x = out_x + tap % 3 - shape.padding;
      if (y < 0 || y >= shape.height || in_x < 0 || in_x >= shape.width) continue;
      for (int64_t c = 0; c < c_count; ++c) {
        const int64_t at = ((n * shape.height + y) * shape.width + in_x) * c_count + c;
        if (gated && to_double(gate[at]) <= 0) continue;
        sum += to_double(x[at]) * to_double(weight[first_tap + direction * tap + o * stride_o + c * stride_c]);
      }
    }
    return relu && sum < 0 ? 0 : sum;
  });
  const double relative = rounding_of<T>();

  on_every_device_of<T>(conv_relu_cpu, conv_relu_cuda, [&](const Device<ConvReluArgs>& device) {
    Buffer<T> y(values);
    ConvReluArgs args = {
        .x = x.data(),
        .gate = gated ? gate.data() : nullptr,
        .dtype = dtype_of<T>(),
        .images = shape.images,
        .height = shape.height,
        .width = shape.width,
        .in_channels = c_count,
        .out_channels = o_count,
        .padding = shape.padding,
        .weight = weight.data() + first_tap,
        .weight_stride_o = stride_o,
        .weight_stride_c = stride_c,
        .weight_stride_y = 3 * direction,
        .weight_stride_x = direction,
        .bias = relu ? bias.data() : nullptr,
        .relu = relu,
        .y = y.data(),
        .workspace = nullptr,
        .algorithm = ConvAlgorithm::direct,  // test_winograd.cpp compares the other one with it
    };
    Buffer<float> workspace(device.cuda ? 0 : conv_relu_cpu_workspace(args, device.threads));
    args.workspace = workspace.data();
    device.run(args);
    check_all_close(y, expected, relative, 1e-5,
                    text(device.name, ", ", shape.images, " x ", c_count, " -> ", o_count, ", ", shape.height, " x ",
                         shape.width, ", padding ", shape.padding));
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  // Around blocks of 4, 8, 16 and 32 channels and 6, 12 and 14 pixels; up to 4 channels, strips of 48 pixels and tasks
  // of 8 rows; CUDA's tiles are 64 pixels x 64 channels.
  const Shape shapes[] = {{1, 1, 1, 3, 3, 0},    {2, 1, 17, 4, 9, 0},  {1, 2, 3, 5, 16, 0},   {1, 8, 8, 4, 17, 0},
                          {1, 16, 16, 3, 8, 0},  {1, 5, 33, 4, 15, 0}, {1, 20, 24, 3, 31, 0}, {0, 4, 4, 5, 5, 0},
                          {1, 65, 66, 4, 11, 0}, {1, 1, 64, 5, 16, 0}, {2, 3, 24, 7, 53, 0},  {1, 4, 72, 3, 9, 0}};
  for (Shape shape : shapes) {
    equals_plain_loop<float>(shape, false, false, true);
    equals_plain_loop<BFloat16>(shape, false, false, true);
    equals_plain_loop<Float16>(shape, false, false, true);
    shape.padding = 2;
    equals_plain_loop<float>(shape, true, true, false);
    equals_plain_loop<BFloat16>(shape, true, true, false);
  }
  return report();
}
