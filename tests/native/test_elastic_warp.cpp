// elastic_warp against a plain loop in double, whose field solves the spline's equations instead of using the closed
// form of core/warp.h; and the bits of every device against each other.
#include "ops/elastic_warp.h"

#include <algorithm>
#include <memory>

#include "check.h"
#include "core/philox.h"
#include "core/warp.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t images, channels, height, width, samples, out_height, out_width, margin;
};

int64_t reflected(int64_t index, int64_t size) {
  while (size > 1 && (index < 0 || index >= size)) index = index < 0 ? -index : 2 * (size - 1) - index;
  return size > 1 ? index : 0;
}

// The cubic B-spline through d[0], d[stride], d[2 stride] with mirror boundary at f in [0, 2].
double spline(const double (&d)[3], double f) {
  // (2 c0 + c1) / 3 = d0,  (c0 + 4 c1 + c2) / 6 = d1,  (c1 + 2 c2) / 3 = d2
  const double c1 = (6 * d[1] - 1.5 * d[0] - 1.5 * d[2]) / 3;
  const double c0 = (3 * d[0] - c1) / 2, c2 = (3 * d[2] - c1) / 2;
  const double c[] = {c1, c0, c1, c2, c1};  // at -1, 0, 1, 2, 3
  double sum = 0;
  for (int k = 0; k < 5; ++k) {
    const double r = std::abs(f - (k - 1));
    sum += c[k] * (r < 1 ? (4 - 6 * r * r + 3 * r * r * r) / 6 : r < 2 ? std::pow(2 - r, 3) / 6 : 0);
  }
  return sum;
}

double keys(double r) {
  r = std::abs(r);
  return r < 1 ? 1.5 * r * r * r - 2.5 * r * r + 1 : r < 2 ? -0.5 * (r * r * r - 5 * r * r + 8 * r - 4) : 0;
}

// Of the authors' own known answers (Random123, kat_vectors).
void philox_gives_its_known_answers() {
  const uint32_t zeros[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const uint32_t ones[] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  const uint32_t digits[] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  const PhiloxWords of_zeros = philox(0, 0, 0), of_ones = philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
  const PhiloxWords of_digits = philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e);
  for (int i = 0; i < 4; ++i) {
    check_equal(of_zeros.word[i], zeros[i], text("philox of zeros, word ", i));
    check_equal(of_ones.word[i], ones[i], text("philox of ones, word ", i));
    check_equal(of_digits.word[i], digits[i], text("philox of the digits of pi, word ", i));
  }
}

double tent(double r) { return std::max(0.0, 1 - std::abs(r)); }

void bspline_weights_interpolate() {
  for (int i = 0; i <= 200; ++i) {
    const float f = static_cast<float>(i) / 100;
    const BSplineWeights w = bspline_weights(f);
    check_close(w.first, spline({1, 0, 0}, f), 0, 2e-7, text("first at ", f));
    check_close(w.middle, spline({0, 1, 0}, f), 0, 2e-7, text("middle at ", f));
    check_close(w.last, spline({0, 0, 1}, f), 0, 2e-7, text("last at ", f));
  }
}

void rounds_down() {
  for (const float s : {0.0f, 0.25f, 0.999f, 1.0f, -0.25f, -1.0f, -1.5f, 8388607.5f, 1073741824.0f, -1073741824.0f}) {
    check_equal(floor_to_int(s), static_cast<int32_t>(std::floor(s)), text("floor of ", s));
  }
  check_equal(nearest_to_int(-0.5f), 0, "nearest to -0.5");
  check_equal(nearest_to_int(2.5f), 3, "nearest to 2.5");
  for (const float wild : {NAN, -INFINITY, -1e30f}) check_equal(limit_coordinate(wild), -1073741824.0f, text(wild));
  for (const float wild : {INFINITY, 1e30f}) check_equal(limit_coordinate(wild), 1073741824.0f, text(wild));
}

// The parameters of a problem, and its solution in double.
template <class In, class Label>
struct Problem {
  Shape s;
  int64_t stride_x, stride_y, stride_c, stride_n;
  bool cubic, curved;  // curved: with gamma and noise
  Random random;
  Buffer<In> image;
  Buffer<Label> labels;
  Buffer<int64_t> source, origin;
  Buffer<float> affine, displacement, gain, bias, scale, offset, gamma, noise;
  Buffer<int64_t> noise_key;

  Problem(const Shape& shape, int64_t stride, bool is_cubic, bool is_curved)
      : s(shape),
        stride_x(stride),
        stride_y(s.width * stride + 1),
        stride_c(s.height * stride_y),
        stride_n(s.channels * stride_c + 3),
        cubic(is_cubic),
        curved(is_curved),
        image(s.images * stride_n, [&](int64_t) { return from_float<In>(random.uniform(0, 100)); }),
        labels(s.images * s.height * s.width, [&](int64_t) { return static_cast<Label>(random.integer(0, 99)); }),
        source(s.samples, [&](int64_t) { return random.integer(0, s.images - 1); }),
        origin(2 * s.samples, [&](int64_t) { return random.integer(-40, 40); }),
        // The first sample is hardly turned: its pixels are read from windows.
        affine(6 * s.samples,
               [&](int64_t i) {
                 if (i % 3 == 2) return random.uniform(-9, 9);
                 return i < 6 ? static_cast<float>(i % 4 == 0) + random.uniform(-0.1f, 0.1f)
                              : random.uniform(-1.2f, 1.2f);
               }),
        displacement(18 * s.samples,
                     [&](int64_t i) { return i < 18 ? random.uniform(-2, 2) : random.uniform(-20, 20); }),
        gain(s.samples * s.channels, [&](int64_t) { return random.uniform(0.5, 2); }),
        bias(s.samples * s.channels, [&](int64_t) { return random.uniform(-1, 1); }),
        scale(s.channels, [&](int64_t) { return random.uniform(0.5, 2); }),
        offset(s.channels, [&](int64_t) { return random.uniform(-1, 1); }),
        gamma(s.samples, [&](int64_t b) { return b == 0 ? 1 : random.uniform(0.8f, 1.2f); }),
        noise(s.samples, [&](int64_t b) { return b == 1 ? 0 : random.uniform(0, 2); }),
        noise_key(s.samples, [&](int64_t) { return random.integer(-(int64_t{1} << 62), int64_t{1} << 62); }) {}

  double coordinate(int64_t b, int axis, int64_t y, int64_t x) const {
    const double fy = s.out_height > 1 ? 2.0 * y / (s.out_height - 1) : 0;
    const double fx = s.out_width > 1 ? 2.0 * x / (s.out_width - 1) : 0;
    const float* d = displacement.data() + 18 * b + 9 * axis;
    const float* a = affine.data() + 6 * b + 3 * axis;
    const double u =
        spline({spline({d[0], d[1], d[2]}, fx), spline({d[3], d[4], d[5]}, fx), spline({d[6], d[7], d[8]}, fx)}, fy);
    return origin[2 * b + axis] + a[0] * double(y) + a[1] * double(x) + a[2] + u;
  }

  double value(int64_t b, int64_t c, double y, double x) const {
    const In* plane = image.data() + source[b] * stride_n + c * stride_c;
    double sum = 0;
    for (int64_t j = int64_t(std::floor(y)) - 1; j < int64_t(std::floor(y)) + 3; ++j) {
      for (int64_t i = int64_t(std::floor(x)) - 1; i < int64_t(std::floor(x)) + 3; ++i) {
        const double weight = cubic ? keys(y - j) * keys(x - i) : tent(y - j) * tent(x - i);
        sum += weight * to_double(plane[reflected(j, s.height) * stride_y + reflected(i, s.width) * stride_x]);
      }
    }
    const double grey = scale[c] * sum + offset[c];
    const double changed = curved ? std::copysign(std::pow(std::abs(grey), double(gamma[b])), grey) : grey;
    return gain[b * s.channels + c] * changed + bias[b * s.channels + c];
  }

  double noise_at(int64_t b, int64_t c, int64_t pixel) const {
    if (!curved) return 0;
    const PhiloxWords words = philox(uint64_t(noise_key[b]), uint64_t(pixel), uint64_t(c));
    const double u = ((words.word[0] >> 8) + 1) * 0x1p-24, v = (words.word[1] >> 8) * 0x1p-24;
    return noise[b] * std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
  }

  Label label(int64_t b, double y, double x) const {
    const int64_t j = reflected(int64_t(std::floor(y + 0.5)), s.height);
    const int64_t i = reflected(int64_t(std::floor(x + 0.5)), s.width);
    return labels[(source[b] * s.height + j) * s.width + i];
  }

  template <class Out>
  ElasticWarpArgs args(Buffer<Out>& out, Buffer<Label>& out_labels) const {
    return {
        .image = image.data(),
        .image_dtype = dtype_of<In>(),
        .images = s.images,
        .channels = s.channels,
        .height = s.height,
        .width = s.width,
        .image_stride_n = stride_n,
        .image_stride_c = stride_c,
        .image_stride_y = stride_y,
        .image_stride_x = stride_x,
        .labels = labels.data(),
        .labels_dtype = dtype_of<Label>(),
        .labels_stride_n = s.height * s.width,
        .labels_stride_y = s.width,
        .labels_stride_x = 1,
        .samples = s.samples,
        .source = source.data(),
        .origin = origin.data(),
        .affine = affine.data(),
        .displacement = displacement.data(),
        .gain = gain.data(),
        .bias = bias.data(),
        .gamma = curved ? gamma.data() : nullptr,
        .noise = curved ? noise.data() : nullptr,
        .noise_key = curved ? noise_key.data() : nullptr,
        .scale = scale.data(),
        .offset = offset.data(),
        .cubic = cubic,
        .out = out.data(),
        .out_dtype = dtype_of<Out>(),
        .out_height = s.out_height,
        .out_width = s.out_width,
        .out_labels = out_labels.data(),
        .labels_margin = s.margin,
    };
  }
};

template <class In, class Label, class Out>
void equals_plain_loop(const Shape& s, int64_t stride_x, bool cubic, bool curved = false) {
  const Problem<In, Label> problem(s, stride_x, cubic, curved);
  const int64_t inner_height = s.out_height - 2 * s.margin, inner_width = s.out_width - 2 * s.margin;
  const int64_t pixels = s.samples * s.out_height * s.out_width;
  const Buffer<double> expected(pixels * s.channels, [&](int64_t i) {
    const int64_t c = i % s.channels, x = i / s.channels % s.out_width;
    const int64_t y = i / s.channels / s.out_width % s.out_height, b = i / s.channels / s.out_width / s.out_height;
    return problem.value(b, c, problem.coordinate(b, 0, y, x), problem.coordinate(b, 1, y, x)) +
           problem.noise_at(b, c, y * s.out_width + x);
  });
  std::unique_ptr<Buffer<Out>> first;
  std::unique_ptr<Buffer<Label>> first_labels;

  on_every_device(elastic_warp_cpu, elastic_warp_cuda, [&](const Device<ElasticWarpArgs>& device) {
    auto out = std::make_unique<Buffer<Out>>(pixels * s.channels);
    auto labels = std::make_unique<Buffer<Label>>(s.samples * inner_height * inner_width);
    device.run(problem.args(*out, *labels));
    const std::string what = text(device.name, cubic ? ", cubic, " : ", bilinear, ", s.height, " x ", s.width, " to ",
                                  s.out_height, " x ", s.out_width);
    if (first) {
      check(*out == *first, what + ": other bits than the first device");
      check(*labels == *first_labels, what + ": other labels than the first device");
      return;
    }
    // Coordinates are off by less than 1e-4 pixels, the image changes by at most 400 grey values per pixel.
    // A gamma of 1.2 makes up to three times as much of it.
    check_all_close(*out, expected, std::is_same_v<Out, BFloat16> ? 1.0 / 256 : 0, curved ? 0.3 : 0.06, what);
    for (int64_t i = 0; i < s.samples * inner_height * inner_width; ++i) {
      const int64_t b = i / inner_width / inner_height;
      const int64_t y = i / inner_width % inner_height + s.margin, x = i % inner_width + s.margin;
      const double at_y = problem.coordinate(b, 0, y, x), at_x = problem.coordinate(b, 1, y, x);
      const auto tie = [](double at) { return std::abs(at - std::floor(at) - 0.5) < 1e-4; };
      if (!tie(at_y) && !tie(at_x)) check_equal((*labels)[i], problem.label(b, at_y, at_x), what + ", labels");
    }
    first = std::move(out);
    first_labels = std::move(labels);
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  bspline_weights_interpolate();
  rounds_down();
  philox_gives_its_known_answers();
  const Shape shapes[] = {{1, 1, 1, 1, 1, 1, 1, 0},    {2, 1, 1, 9, 2, 3, 63, 1},     {1, 2, 40, 50, 2, 9, 64, 4},
                          {3, 1, 33, 2, 3, 17, 65, 5}, {2, 3, 60, 70, 2, 33, 129, 0}, {1, 1, 5, 5, 0, 16, 16, 2}};
  for (const Shape& shape : shapes) {
    for (const bool cubic : {false, true}) {
      equals_plain_loop<uint8_t, int32_t, float>(shape, 1, cubic);
      equals_plain_loop<uint16_t, uint8_t, float>(shape, 3, cubic);
      equals_plain_loop<BFloat16, int64_t, BFloat16>(shape, 1, cubic);
      equals_plain_loop<float, uint16_t, float>(shape, 2, cubic);
      equals_plain_loop<float, uint16_t, float>(shape, 1, cubic, true);
      equals_plain_loop<uint16_t, uint8_t, BFloat16>(shape, 1, cubic, true);
      equals_plain_loop<int16_t, int32_t, float>(shape, 1, cubic);
      equals_plain_loop<double, int32_t, float>(shape, 1, cubic);
    }
  }
  return report();
}
