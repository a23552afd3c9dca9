// nearest_two_distances against every pixel of every instance.
#include "ops/nearest_two_distances.h"

#include "check.h"
#include "instances.h"

namespace unet_fast::test {
namespace {

template <class T>
void equals_plain_loop(const MapShape& shape, int instances, const IgnoredLabel& ignored, int shift = 0) {
  Random random;
  Buffer<T> labels = random_instances<T>(shape, instances, random);
  for (int64_t i = 0; i < shape.pixels(); ++i) labels[i] = static_cast<T>(labels[i] << shift);
  const TwoDistances expected = plain_distances(labels, shape, ignored);
  const InstanceMaps maps = view(labels, shape, ignored);
  for (const int32_t reach : {kUnlimitedReach, 0, 9, 40}) {
    on_every_device(
        nearest_two_distances_cpu, nearest_two_distances_cuda, [&](const Device<NearestTwoDistancesArgs>& device) {
          const int slots = device.threads.count;
          Buffer<int64_t> workspace(
              (device.cuda ? nearest_two_workspace_cuda(maps) : nearest_two_workspace_cpu(maps, slots)) / 8);
          Buffer<float> d1(shape.pixels()), d2(shape.pixels());
          device.run({
              .maps = maps,
              .reach = reach,
              .d1 = d1.data(),
              .d2 = d2.data(),
              .workspace = workspace.data(),
              .slots = slots,
          });
          const std::string what = text(device.name, ", ", shape.height, " x ", shape.width, ", reach ", reach);
          if (reach == kUnlimitedReach) {
            check_all_close(d1, expected.d1, 1e-7, 0, what + ", d1");
            check_all_close(d2, expected.d2, 1e-7, 0, what + ", d2");
            return;
          }
          for (int64_t i = 0; i < shape.pixels(); ++i) {
            if (expected.d1[i] + expected.d2[i] > reach) {
              check(d1[i] + d2[i] > reach, text(what, ": [", i, "] is in reach"));
            } else {
              check_close(d1[i], expected.d1[i], 1e-7, 0, text(what, ", d1[", i, "]"));
              check_close(d2[i], expected.d2[i], 1e-7, 0, text(what, ", d2[", i, "]"));
            }
          }
        });
  }
}

// Two pixels of one column exactly `reach` apart, in image n from row n on: across every boundary of a band or segment.
void reach_is_inclusive(int32_t reach) {
  const MapShape shape = {90, 140, 1};
  const Buffer<uint8_t> labels(shape.pixels(), [&](int64_t i) {
    const int64_t from_first = i % shape.height - i / shape.height;
    return static_cast<uint8_t>(from_first == 0 ? 1 : from_first == reach ? 2 : 0);
  });
  const InstanceMaps maps = view(labels, shape, {.given = false, .value = 0});
  on_every_device(
      nearest_two_distances_cpu, nearest_two_distances_cuda, [&](const Device<NearestTwoDistancesArgs>& device) {
        const int slots = device.threads.count;
        Buffer<int64_t> workspace(
            (device.cuda ? nearest_two_workspace_cuda(maps) : nearest_two_workspace_cpu(maps, slots)) / 8);
        Buffer<float> d1(shape.pixels()), d2(shape.pixels());
        device.run({
            .maps = maps,
            .reach = reach,
            .d1 = d1.data(),
            .d2 = d2.data(),
            .workspace = workspace.data(),
            .slots = slots,
        });
        for (int64_t i = 0; i < shape.pixels(); ++i) {
          const int64_t from_first = i % shape.height - i / shape.height;
          const bool is_between = from_first >= 0 && from_first <= reach;
          check(is_between ? d1[i] + d2[i] == static_cast<float>(reach) : d1[i] + d2[i] > static_cast<float>(reach),
                text(device.name, ", reach ", reach, ", [", i, "]: ", d1[i], " and ", d2[i]));
        }
      });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  // Around a band of 32 rows, a strip of 64 columns and a segment of 64 rows.
  const MapShape shapes[] = {
      {1, 1, 1},   {2, 1, 30},  {1, 40, 1}, {2, 33, 17}, {1, 64, 65},
      {1, 70, 40}, {1, 5, 130}, {0, 4, 4},  {2, 3, 700}};  // wide enough for the envelopes of a row
  for (const MapShape& shape : shapes) {
    equals_plain_loop<uint8_t>(shape, 8, {.given = true, .value = 2});
    equals_plain_loop<uint16_t>(shape, 2, {.given = false, .value = 0});
    equals_plain_loop<int32_t>(shape, 1, {.given = false, .value = 0});
    equals_plain_loop<uint32_t>(shape, 3, {.given = false, .value = 0}, 30);
    equals_plain_loop<int64_t>(shape, 5, {.given = true, .value = -1});
    equals_plain_loop<int64_t>(shape, 5, {.given = false, .value = 0}, 33);
  }
  for (const int32_t reach : {1, 9, 40}) reach_is_inclusive(reach);
  return report();
}
