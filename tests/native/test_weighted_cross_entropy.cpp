// weighted_cross_entropy and its gradient against the formula in double.
#include "ops/weighted_cross_entropy.h"

#include "check.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t images, classes, height, width;
  int64_t pixels() const { return images * height * width; }
};

struct Strides {
  int64_t n, k, y, x;
  int64_t at(const Shape& shape, int64_t pixel, int64_t of_class) const {
    const int64_t row = pixel / shape.width;
    return row / shape.height * n + of_class * k + row % shape.height * y + pixel % shape.width * x;
  }
};

// Dense with the classes outermost or innermost, or with holes.
Strides planar(const Shape& s) { return {s.classes * s.height * s.width, s.height * s.width, s.width, 1}; }
Strides channels_last(const Shape& s) { return {s.classes * s.height * s.width, 1, s.classes * s.width, s.classes}; }
Strides with_holes(const Shape& s) {
  const int64_t x = 3, y = s.width * x + 2, k = s.height * y + 1;
  return {s.classes * k + 5, k, y, x};
}

// Elements from the first to the last.
int64_t extent(const Shape& s, const Strides& strides) {
  return s.pixels() ? strides.at(s, s.pixels() - 1, s.classes - 1) + 1 : 0;
}

template <class T, class Class>
void equals_formula(const Shape& shape, Strides (*layout)(const Shape&), bool with_weights,
                    Normalization normalization) {
  Random random;
  const Strides strides = layout(shape);
  const Buffer<T> logits(extent(shape, strides), [&](int64_t) { return from_float<T>(random.uniform(-5, 5)); });
  const Buffer<Class> classes(shape.pixels(), [&](int64_t i) {
    return static_cast<Class>(i % 7 == 3 ? kIgnoredClass : random.integer(0, shape.classes - 1));
  });
  const Buffer<float> weights(shape.pixels(), [&](int64_t) { return random.uniform(0, 3); });
  const WeightedLogits input = {
      .logits = logits.data(),
      .logits_dtype = dtype_of<T>(),
      .images = shape.images,
      .class_count = shape.classes,
      .height = shape.height,
      .width = shape.width,
      .stride_n = strides.n,
      .stride_k = strides.k,
      .stride_y = strides.y,
      .stride_x = strides.x,
      .classes = classes.data(),
      .classes_dtype = dtype_of<Class>(),
      .weights = with_weights ? weights.data() : nullptr,
  };

  double loss = 0, weight_sum = 0;
  std::vector<double> gradient(shape.pixels() * shape.classes, 0.0);  // [pixel][class], before the division by Z
  for (int64_t pixel = 0; pixel < shape.pixels(); ++pixel) {
    if (classes[pixel] == kIgnoredClass) continue;
    const auto z = [&](int64_t k) { return to_double(logits[strides.at(shape, pixel, k)]); };
    const double weight = with_weights ? weights[pixel] : 1.0;
    double sum = 0;
    for (int64_t k = 0; k < shape.classes; ++k) sum += std::exp(z(k));
    loss += weight * (std::log(sum) - z(static_cast<int64_t>(classes[pixel])));
    weight_sum += weight;
    for (int64_t k = 0; k < shape.classes; ++k) {
      const double is_own = k == static_cast<int64_t>(classes[pixel]);
      gradient[pixel * shape.classes + k] = weight * (std::exp(z(k)) / sum - is_own);
    }
  }
  const double divisor = normalization == Normalization::weight   ? weight_sum
                         : normalization == Normalization::pixels ? static_cast<double>(shape.pixels())
                                                                  : 1.0;
  const double scale = divisor > 0 ? 1 / divisor : 0;
  constexpr float kUpstream = 2.5f;
  for (double& value : gradient) value *= kUpstream * scale;

  Buffer<double> got_scale(1);
  const int64_t chunks = (shape.pixels() + kLossChunk - 1) / kLossChunk;
  on_every_device(
      weighted_cross_entropy_cpu, weighted_cross_entropy_cuda, [&](const Device<WeightedCrossEntropyArgs>& device) {
        Buffer<LossPartial> partials(chunks);
        Buffer<float> got(1);
        got_scale.poison();
        int64_t bad_class = kIgnoredClass;
        device.run({
            .input = input,
            .normalization = normalization,
            .partials = partials.data(),
            .loss = got.data(),
            .scale = got_scale.data(),
            .bad_class = &bad_class,
        });
        const std::string what = text(device.name, ", ", shape.classes, " x ", shape.height, " x ", shape.width);
        check_close(got[0], loss * scale, 1e-6, 1e-7 * weight_sum * scale, what + ", loss");
        check_close(got_scale[0], scale, 1e-12, 0, what + ", scale");
        check_equal(bad_class, int64_t{kIgnoredClass}, what);
      });
  const Buffer<float> upstream(1, [](int64_t) { return kUpstream; });
  on_every_device(weighted_cross_entropy_backward_cpu, weighted_cross_entropy_backward_cuda,
                  [&](const Device<WeightedCrossEntropyBackwardArgs>& device) {
                    Buffer<T> got(extent(shape, strides));
                    device.run({
                        .input = input,
                        .scale = got_scale.data(),
                        .grad = upstream.data(),
                        .grad_logits = got.data(),
                        .grad_stride_n = strides.n,
                        .grad_stride_k = strides.k,
                        .grad_stride_y = strides.y,
                        .grad_stride_x = strides.x,
                    });
                    const Buffer<double> dense(shape.pixels() * shape.classes, [&](int64_t i) {
                      return to_double(got[strides.at(shape, i / shape.classes, i % shape.classes)]);
                    });
                    const double relative = std::is_same_v<T, BFloat16> ? 1.0 / 256 : 1e-5;
                    check_all_close(dense, gradient, relative, 2e-6 * kUpstream * scale,
                                    text(device.name, ", ", shape.classes, " x ", shape.height, " x ", shape.width));
                  });
}

void a_class_out_of_range_is_reported() {
  constexpr Shape kShape = {1, 2, 30, 70};
  const Strides strides = planar(kShape);
  const Buffer<float> logits(extent(kShape, strides), [](int64_t) { return 1.0f; });
  for (const int64_t bad : {int64_t{2}, int64_t{-1}, int64_t{254}, int64_t{1} << 32}) {
    const Buffer<int64_t> classes(kShape.pixels(), [&](int64_t i) { return i == 1500 ? bad : 1; });
    on_every_device(weighted_cross_entropy_cpu, weighted_cross_entropy_cuda,
                    [&](const Device<WeightedCrossEntropyArgs>& device) {
                      Buffer<LossPartial> partials(3);
                      Buffer<float> loss(1);
                      Buffer<double> scale(1);
                      int64_t bad_class = kIgnoredClass;
                      device.run({
                          .input = {logits.data(), DType::float32, 1, 2, 30, 70, strides.n, strides.k, strides.y,
                                    strides.x, classes.data(), DType::int64, nullptr},
                          .normalization = Normalization::weight,
                          .partials = partials.data(),
                          .loss = loss.data(),
                          .scale = scale.data(),
                          .bad_class = &bad_class,
                      });
                      if (device.cuda) {
                        check(std::isnan(loss[0]), device.name);
                      } else {
                        check_equal(bad_class, bad, device.name);
                      }
                    });
  }
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  // Around 64 pixels at a time, 16 classes that are kept, and chunks of 1024 pixels.
  const Shape shapes[] = {{1, 1, 1, 1},   {2, 2, 1, 9},   {1, 3, 7, 1},   {1, 2, 8, 8},  {1, 2, 5, 13},
                          {2, 2, 32, 32}, {1, 3, 25, 41}, {1, 16, 9, 15}, {2, 17, 9, 5}, {0, 2, 4, 4}};
  for (const Shape& shape : shapes) {
    equals_formula<float, uint8_t>(shape, planar, true, Normalization::weight);
    equals_formula<float, int64_t>(shape, channels_last, true, Normalization::pixels);
    equals_formula<float, uint8_t>(shape, with_holes, false, Normalization::sum);
    equals_formula<BFloat16, int64_t>(shape, planar, false, Normalization::weight);
    equals_formula<BFloat16, uint8_t>(shape, channels_last, true, Normalization::weight);
  }
  a_class_out_of_range_is_reported();
  return report();
}
