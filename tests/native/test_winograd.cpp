// conv_relu and its gradients by Winograd's algorithm against the direct one, which test_conv_relu.cpp compares with a
// plain loop; and the same bits for any number of threads.
#include <algorithm>
#include <optional>

#include "check.h"
#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t images, channels, out_channels, height, width;
};

Buffer<float> random_values(int64_t count, Random& random) {
  return Buffer<float>(count, [&](int64_t) { return random.uniform(-1, 1); });
}

std::string name_of(const Shape& shape) {
  return text(shape.images, " x ", shape.channels, " -> ", shape.out_channels, ", ", shape.height, " x ", shape.width);
}

// run(device, algorithm) -> a buffer. `scale` is the size of the values.
template <class Args, class Run>
void agrees_with_direct(void (*cpu)(const Args&, const Threads&), double scale, const std::string& what,
                        const Run& run) {
  std::optional<Buffer<float>> one_thread;
  on_every_cpu(cpu, [&](const Device<Args>& device) {
    const Buffer<float> direct = run(device, ConvAlgorithm::direct);
    Buffer<float> winograd = run(device, ConvAlgorithm::winograd);
    check_all_close(winograd, direct, 0, 1e-5 * scale, device.name + ", " + what);
    if (device.threads.count > 1) check(winograd == *one_thread, device.name + ", other bits, " + what);
    one_thread.emplace(std::move(winograd));
  });
}

// Forward; or as the data gradient: gated, with two pixels of zeros around, the kernel transposed and rotated. That has
// the same bits behind a mask.
void convolution(const Shape& shape, bool data_gradient) {
  Random random;
  const int64_t padding = data_gradient ? 2 : 0, c = shape.channels, o = shape.out_channels;
  const int64_t height = shape.height + 2 * padding - 2, width = shape.width + 2 * padding - 2;
  const int64_t values = shape.images * shape.height * shape.width * c;
  const Buffer<float> x = random_values(values, random), gate = random_values(values, random);
  const Buffer<float> weight = random_values(9 * c * o, random), bias = random_values(o, random);
  const Buffer<float> mask = random_values(shape.images * height * width * o, random);
  const auto run = [&](const Device<ConvReluArgs>& device, ConvAlgorithm algorithm) {
    Buffer<float> y(mask.size()), masked(mask.size());
    ConvReluArgs args = {
        .x = x.data(),
        .gate = data_gradient ? gate.data() : nullptr,
        .dtype = DType::float32,
        .images = shape.images,
        .height = shape.height,
        .width = shape.width,
        .in_channels = c,
        .out_channels = o,
        .padding = padding,
        .weight = weight.data() + (data_gradient ? 8 : 0),
        .weight_stride_o = data_gradient ? 9 : 9 * c,
        .weight_stride_c = data_gradient ? 9 * o : 9,
        .weight_stride_y = data_gradient ? -3 : 3,
        .weight_stride_x = data_gradient ? -1 : 1,
        .bias = data_gradient ? nullptr : bias.data(),
        .relu = !data_gradient,
        .y = y.data(),
        .workspace = nullptr,
        .algorithm = algorithm,
    };
    Buffer<float> workspace(conv_relu_cpu_workspace(args, device.threads));
    args.workspace = workspace.data();
    device.run(args);
    if (data_gradient) {
      args.y = masked.data(), args.mask = mask.data();
      device.run(args);
      const Buffer<float> expected(y.size(), [&](int64_t i) { return mask[i] > 0 ? y[i] : 0; });
      check(masked == expected, device.name + ", masked, " + name_of(shape));
    }
    return y;
  };
  agrees_with_direct(conv_relu_cpu, std::sqrt(9.0 * static_cast<double>(c)),
                     name_of(shape) + (data_gradient ? " (data gradient)" : ""), run);
}

void weight_gradient(const Shape& shape) {
  Random random;
  const int64_t c = shape.channels, o = shape.out_channels, weights = 9 * c * o;
  const int64_t pixels = shape.images * (shape.height - 2) * (shape.width - 2);
  const Buffer<float> x = random_values(shape.images * shape.height * shape.width * c, random);
  const Buffer<float> grad = random_values(pixels * o, random), gate = random_values(pixels * o, random);
  const auto run = [&](const Device<ConvReluWeightGradArgs>& device, ConvAlgorithm algorithm) {
    Buffer<float> gradients(weights + o);
    ConvReluWeightGradArgs args = {
        .x = x.data(),
        .grad = grad.data(),
        .gate = gate.data(),
        .dtype = DType::float32,
        .images = shape.images,
        .height = shape.height,
        .width = shape.width,
        .in_channels = c,
        .out_channels = o,
        .grad_weight = gradients.data(),
        .grad_bias = gradients.data() + weights,
        .workspace = nullptr,
        .algorithm = algorithm,
    };
    Buffer<float> workspace(conv_relu_weight_grad_cpu_workspace(args, device.threads));
    args.workspace = workspace.data();
    device.run(args);
    return gradients;
  };
  agrees_with_direct(conv_relu_weight_grad_cpu, std::sqrt(static_cast<double>(pixels)),
                     name_of(shape) + " (weight gradient)", run);
}

// A second source in a window of larger images, the crop and the pool, all in one pass: the same bits as one source
// without them, from a packed weight, too.
void fused(const Shape& shape, int64_t skip_channels, int64_t crop) {
  Random random;
  const int64_t c = shape.channels, both = c + skip_channels, o = shape.out_channels;
  const int64_t height = shape.height - 2, width = shape.width - 2, pixels = shape.images * shape.height * shape.width;
  const int64_t window_row = (shape.width + 3) * skip_channels, window_image = (shape.height + 2) * window_row;
  const Buffer<float> x = random_values(pixels * c, random), weight = random_values(9 * both * o, random);
  const Buffer<float> whole = random_values(shape.images * window_image, random), bias = random_values(o, random);
  const float* const skip = whole.data() + window_row + 2 * skip_channels;  // from row 1, column 2 on
  Buffer<float> concatenated(pixels * both, [&](int64_t i) {
    const int64_t channel = i % both, column = i / both % shape.width, line = i / both / shape.width;
    if (channel < c) return x[(i / both) * c + channel];
    const int64_t row = line / shape.height * window_image + line % shape.height * window_row;
    return skip[row + column * skip_channels + channel - c];
  });
  on_every_cpu(conv_relu_cpu, [&](const Device<ConvReluArgs>& device) {
    const auto run = [&](const ConvReluArgs& given) {
      ConvReluArgs args = given;
      Buffer<float> workspace(conv_relu_cpu_workspace(args, device.threads));
      args.workspace = workspace.data();
      device.run(args);
    };
    ConvReluArgs args = {
        .x = concatenated.data(),
        .gate = nullptr,
        .dtype = DType::float32,
        .images = shape.images,
        .height = shape.height,
        .width = shape.width,
        .in_channels = both,
        .out_channels = o,
        .padding = 0,
        .weight = weight.data(),
        .weight_stride_o = 9 * both,
        .weight_stride_c = 9,
        .weight_stride_y = 3,
        .weight_stride_x = 1,
        .bias = bias.data(),
        .relu = true,
        .y = nullptr,
        .workspace = nullptr,
        .algorithm = ConvAlgorithm::winograd,
    };
    const std::string name = device.name + ", fused, " + name_of(shape);
    Buffer<float> y(shape.images * height * width * o);
    args.y = y.data();
    run(args);

    const int64_t inner_height = height - 2 * crop, inner_width = width - 2 * crop;
    Buffer<float> inner(shape.images * inner_height * inner_width * o), pooled(shape.images * height * width / 4 * o);
    Buffer<float> packed(conv_relu_packed(args));
    args.workspace = packed.data();
    conv_relu_pack(args, device.threads);
    args.x = x.data();
    args.in_channels = c;
    args.skip = {skip, skip_channels, window_row, window_image};
    check(conv_relu_fuses(args), name + " is refused");
    args.y = inner.data();
    args.crop = crop;
    args.pooled = pooled.data();
    const Buffer<float> expected(inner.size(), [&](int64_t i) {
      const int64_t channel = i % o, column = i / o % inner_width, line = i / o / inner_width;
      const int64_t row = line / inner_height * height + line % inner_height + crop;
      return y[(row * width + column + crop) * o + channel];
    });
    const Buffer<float> maxima(pooled.size(), [&](int64_t i) {
      const int64_t channel = i % o, column = i / o % (width / 2), line = i / o / (width / 2);
      const float* corner = y.data() + (2 * line * width + 2 * column) * o + channel;
      return std::max(std::max(corner[0], corner[o]), std::max(corner[width * o], corner[(width + 1) * o]));
    });
    for (const float* u : {static_cast<const float*>(packed.data()), static_cast<const float*>(nullptr)}) {
      inner.poison(), pooled.poison();
      args.packed = u;
      run(args);
      check(inner == expected, name + ", cropped");
      check(pooled == maxima, name + ", pooled");
    }
  });
}

// A layer of few channels that is made on the way: the same bits as one that is stored.
void on_the_way(const Shape& shape, int64_t between) {
  Random random;
  const int64_t c = shape.channels, o = shape.out_channels, height = shape.height - 2, width = shape.width - 2;
  const Buffer<float> image = random_values(shape.images * shape.height * shape.width * c, random);
  const Buffer<float> first_weight = random_values(9 * c * between, random),
                      first_bias = random_values(between, random);
  const Buffer<float> weight = random_values(9 * between * o, random), bias = random_values(o, random);
  const auto layer = [&](const float* x, int64_t channels, int64_t h, int64_t w, int64_t outputs, const float* weights,
                         const float* biases) {
    return ConvReluArgs{
        .x = x,
        .gate = nullptr,
        .dtype = DType::float32,
        .images = shape.images,
        .height = h,
        .width = w,
        .in_channels = channels,
        .out_channels = outputs,
        .padding = 0,
        .weight = weights,
        .weight_stride_o = 9 * channels,
        .weight_stride_c = 9,
        .weight_stride_y = 3,
        .weight_stride_x = 1,
        .bias = biases,
        .relu = true,
        .y = nullptr,
        .workspace = nullptr,
        .algorithm = ConvAlgorithm::automatic,
    };
  };
  on_every_cpu(conv_relu_cpu, [&](const Device<ConvReluArgs>& device) {
    const auto run = [&](ConvReluArgs args) {
      Buffer<float> y(args.images * (args.height - 2) * (args.width - 2) * args.out_channels);
      Buffer<float> workspace(conv_relu_cpu_workspace(args, device.threads));
      args.y = y.data(), args.workspace = workspace.data();
      device.run(args);
      return y;
    };
    const ConvReluArgs first =
        layer(image.data(), c, shape.height, shape.width, between, first_weight.data(), first_bias.data());
    const Buffer<float> x = run(first);
    ConvReluArgs second = layer(x.data(), between, height, width, o, weight.data(), bias.data());
    const Buffer<float> expected = run(second);
    second.x = nullptr, second.first = &first;
    const std::string name = device.name + ", on the way, " + name_of(shape);
    check(conv_relu_fuses(second), name + " is refused");
    check(run(second) == expected, name);
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  // Tiles of 4 x 4 pixels whole and cut, more than a block of 28 or 56 of them, channels around panels of 16 and blocks
  // of 8, 16 and 32, a layer of the deep schedule, one of large tasks (SplitProduct), and a deep one of more tiles and
  // channels than a task takes at a time.
  const Shape shapes[] = {{1, 1, 1, 3, 3},     {2, 3, 5, 6, 9},      {1, 16, 16, 10, 10}, {3, 17, 9, 12, 15},
                          {1, 20, 33, 7, 5},   {2, 5, 4, 50, 70},    {1, 33, 66, 8, 4},   {0, 16, 16, 5, 5},
                          {1, 272, 256, 9, 6}, {1, 320, 68, 38, 38}, {33, 528, 125, 7, 7}};
  for (const Shape& shape : shapes) {
    convolution(shape, false);
    convolution(shape, true);
    weight_gradient(shape);
  }
  fused({2, 16, 20, 10, 12}, 5, 1);
  fused({1, 32, 40, 12, 8}, 33, 2);
  fused({1, 16, 272, 8, 10}, 256, 0);
  fused({33, 272, 125, 8, 8}, 256, 1);
  on_the_way({2, 1, 16, 14, 12}, 16);
  on_the_way({1, 3, 40, 23, 190}, 33);
  return report();
}
