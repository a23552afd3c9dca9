// weight_map against equation (2) of the paper in double.
#include "ops/weight_map.h"

#include "check.h"
#include "instances.h"
#include "ops/nearest_two_distances.h"

namespace unet_fast::test {
namespace {

struct Settings {
  float border, sigma, background_weight;
  bool everywhere;
};

void equals_equation(const MapShape& shape, int instances, const Settings& settings) {
  Random random;
  constexpr IgnoredLabel kIgnored = {.given = true, .value = 2};
  constexpr int kClasses = 3;
  const Buffer<uint16_t> labels = random_instances<uint16_t>(shape, instances, random);
  const Buffer<uint8_t> classes(shape.pixels(), [&](int64_t) {
    const int64_t value = random.integer(-4, kClasses);
    return value == kClasses ? kIgnoredClass : static_cast<uint8_t>(std::max<int64_t>(value, 0));
  });
  Buffer<float> class_weight(kClasses, [](int64_t k) { return 0.5f + static_cast<float>(k); });
  class_weight[0] = settings.background_weight;
  const TwoDistances distances = plain_distances(labels, shape, kIgnored);
  const Buffer<double> expected(shape.pixels(), [&](int64_t i) {
    if (classes[i] == kIgnoredClass) return 0.0;
    const double sum = distances.d1[i] + distances.d2[i], sigma = settings.sigma;
    const bool has_term = settings.everywhere || classes[i] == 0;
    return class_weight[classes[i]] + has_term * settings.border * std::exp(-sum * sum / (2 * sigma * sigma));
  });
  const InstanceMaps maps = view(labels, shape, kIgnored);
  on_every_device(weight_map_cpu, weight_map_cuda, [&](const Device<WeightMapArgs>& device) {
    const int slots = device.threads.count;
    Buffer<int64_t> workspace(
        (device.cuda ? nearest_two_workspace_cuda(maps) : nearest_two_workspace_cpu(maps, slots)) / 8);
    Buffer<float> out(shape.pixels());
    int32_t bad_class = -1;
    device.run({
        .maps = maps,
        .classes = classes.data(),
        .class_weight = class_weight.data(),
        .class_count = kClasses,
        .border = settings.border,
        .sigma = settings.sigma,
        .everywhere = settings.everywhere,
        .out = out.data(),
        .workspace = workspace.data(),
        .slots = slots,
        .bad_class = &bad_class,
    });
    check_equal(bad_class, -1, device.name);
    // Where the class weighs nothing, the exponent (up to 104) is rounded to 24 bits.
    check_all_close(out, expected, settings.background_weight > 0 ? 1e-6 : 5e-5, 2e-45,
                    text(device.name, ", ", shape.height, " x ", shape.width, ", sigma ", settings.sigma));
  });
}

void a_class_without_weight_is_reported() {
  constexpr MapShape kShape = {1, 2, 3};
  const Buffer<uint8_t> labels(kShape.pixels(), [](int64_t) { return 0; });
  const Buffer<uint8_t> classes(kShape.pixels(), [](int64_t i) { return i == 4 ? 7 : 1; });
  const Buffer<float> class_weight(2, [](int64_t) { return 1.0f; });
  const InstanceMaps maps = view(labels, kShape, {.given = false, .value = 0});
  on_every_device(weight_map_cpu, weight_map_cuda, [&](const Device<WeightMapArgs>& device) {
    Buffer<int64_t> workspace(
        (device.cuda ? nearest_two_workspace_cuda(maps) : nearest_two_workspace_cpu(maps, device.threads.count)) / 8);
    Buffer<float> out(kShape.pixels());
    int32_t bad_class = -1;
    device.run({
        .maps = maps,
        .classes = classes.data(),
        .class_weight = class_weight.data(),
        .class_count = 2,
        .border = 10,
        .sigma = 5,
        .everywhere = false,
        .out = out.data(),
        .workspace = workspace.data(),
        .slots = device.threads.count,
        .bad_class = &bad_class,
    });
    if (device.cuda) {
      check(std::isnan(out[4]) && out[3] == 1, device.name);
    } else {
      check_equal(bad_class, 7, device.name);
    }
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  const MapShape shapes[] = {{1, 1, 1}, {2, 33, 17}, {1, 64, 65}, {1, 20, 150}, {0, 4, 4}};
  const Settings settings[] = {
      {10, 5, 1, false}, {10, 5, 0, false}, {50, 1, 0.1f, true}, {0, 5, 1, true}, {3, 60, 1, true}};
  for (const MapShape& shape : shapes) {
    for (const Settings& setting : settings) {
      equals_equation(shape, 1, setting);
      equals_equation(shape, 9, setting);
    }
  }
  a_class_without_weight_is_reported();
  return report();
}
