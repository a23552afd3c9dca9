// target_classes against the rule applied pixel by pixel.
#include "ops/target_classes.h"

#include "check.h"
#include "instances.h"

namespace unet_fast::test {
namespace {

// Pixel by pixel in raster order; what was cut counts no more in Gap::scan.
template <class T>
std::vector<int> plain_classes(const Buffer<T>& labels, const MapShape& shape, const IgnoredLabel& ignored, Gap gap) {
  std::vector<int64_t> before(shape.pixels());
  for (int64_t i = 0; i < shape.pixels(); ++i) before[i] = id_of(labels, i, ignored);
  std::vector<int64_t> after = before;
  const int64_t neighbours = gap == Gap::scan ? 4 : gap == Gap::full8 ? 9 : 0;  // of the 3 x 3, in raster order
  for (int64_t i = 0; i < shape.pixels(); ++i) {
    const int64_t y = i / shape.width % shape.height, x = i % shape.width;
    for (int64_t k = 0; k < neighbours; ++k) {
      const int64_t dy = k / 3 - 1, dx = k % 3 - 1;
      if (y + dy < 0 || y + dy >= shape.height || x + dx < 0 || x + dx >= shape.width) continue;
      const int64_t other = (gap == Gap::scan ? after : before)[i + dy * shape.width + dx];
      if (before[i] > 0 && other > 0 && other != before[i]) after[i] = 0;
    }
  }
  std::vector<int> classes;
  for (int64_t i = 0; i < shape.pixels(); ++i) {
    const bool is_ignored = ignored.given && static_cast<int64_t>(labels[i]) == ignored.value;
    classes.push_back(is_ignored ? kIgnoredClass : after[i] > 0);
  }
  return classes;
}

template <class T>
void equals_plain_loop(const MapShape& shape, int instances, Gap gap, const IgnoredLabel& ignored) {
  Random random;
  const Buffer<T> labels = random_instances<T>(shape, instances, random);
  const std::vector<int> expected = plain_classes(labels, shape, ignored, gap);
  on_every_device(target_classes_cpu, target_classes_cuda, [&](const Device<TargetClassesArgs>& device) {
    Buffer<uint8_t> out(shape.pixels());
    device.run({.maps = view(labels, shape, ignored), .gap = gap, .out = out.data()});
    check_all_close(out, expected, 0, 0,
                    text(device.name, ", ", shape.height, " x ", shape.width, ", ", instances, " instances, gap ",
                         static_cast<int>(gap)));
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  const MapShape shapes[] = {{1, 1, 1},   {2, 1, 30},   {1, 40, 1}, {2, 2, 2},
                             {3, 17, 64}, {1, 33, 530}, {1, 0, 5},  {0, 4, 4}};
  for (const MapShape& shape : shapes) {
    for (const Gap gap : {Gap::none, Gap::scan, Gap::full8}) {
      const int many = static_cast<int>(std::min<int64_t>(shape.height * shape.width / 8 + 2, 250));
      equals_plain_loop<uint8_t>(shape, many, gap, {.given = true, .value = 2});
      equals_plain_loop<int32_t>(shape, many, gap, {.given = false, .value = 0});
      equals_plain_loop<uint16_t>(shape, 3, gap, {.given = true, .value = 0});
      equals_plain_loop<int64_t>(shape, many, gap, {.given = true, .value = 3});
    }
  }
  // Rows that shared memory holds a few of, one of, and none of.
  equals_plain_loop<int32_t>({1, 9, 3000}, 90, Gap::scan, {.given = false, .value = 0});
  equals_plain_loop<int64_t>({2, 4, 4000}, 60, Gap::scan, {.given = true, .value = 3});
  equals_plain_loop<int64_t>({1, 4, 4300}, 60, Gap::scan, {.given = true, .value = 3});
  return report();
}
