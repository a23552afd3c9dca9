// Random instance maps for the native tests of the label operators, and plain loops over them in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "check.h"
#include "core/instance.h"

namespace unet_fast::test {

struct MapShape {
  int64_t images, height, width;
  int64_t pixels() const { return images * height * width; }
};

// Rectangles of random ids 1..instances over background, many of them touching; id `ignored` may be among them.
template <class T>
Buffer<T> random_instances(const MapShape& shape, int instances, Random& random) {
  Buffer<T> labels(shape.pixels(), [](int64_t) { return T{0}; });
  for (int64_t i = 0; i < shape.images * instances && shape.pixels() > 0; ++i) {
    const int64_t image = i / instances, top = random.integer(0, shape.height - 1);
    const int64_t left = random.integer(0, shape.width - 1);
    const int64_t bottom = std::min(shape.height, top + random.integer(1, 12));
    const int64_t right = std::min(shape.width, left + random.integer(1, 12));
    for (int64_t y = top; y < bottom; ++y) {
      for (int64_t x = left; x < right; ++x) {
        labels[(image * shape.height + y) * shape.width + x] = static_cast<T>(i % instances + 1);
      }
    }
  }
  return labels;
}

template <class T>
InstanceMaps view(const Buffer<T>& labels, const MapShape& shape, const IgnoredLabel& ignored) {
  return {labels.data(), dtype_of<T>(), ignored, shape.images, shape.height, shape.width};
}

template <class T>
int64_t id_of(const Buffer<T>& labels, int64_t pixel, const IgnoredLabel& ignored) {
  const auto label = static_cast<int64_t>(labels[pixel]);
  return label > 0 && !(ignored.given && label == ignored.value) ? label : 0;
}

struct TwoDistances {
  std::vector<double> d1, d2;
};

// Every pixel against every pixel of an instance.
template <class T>
TwoDistances plain_distances(const Buffer<T>& labels, const MapShape& shape, const IgnoredLabel& ignored) {
  const int64_t area = shape.height * shape.width;
  TwoDistances result;
  for (int64_t pixel = 0; pixel < shape.pixels(); ++pixel) {
    std::map<int64_t, int64_t> nearest;  // squared distance of each instance
    for (int64_t other = pixel / area * area; other < (pixel / area + 1) * area; ++other) {
      const int64_t id = id_of(labels, other, ignored);
      if (id == 0) continue;
      const int64_t dy = other / shape.width - pixel / shape.width, dx = other % shape.width - pixel % shape.width;
      const auto [entry, is_new] = nearest.try_emplace(id, dy * dy + dx * dx);
      if (!is_new) entry->second = std::min(entry->second, dy * dy + dx * dx);
    }
    std::vector<double> distances = {INFINITY, INFINITY};
    for (const auto& [id, square] : nearest) distances.push_back(std::sqrt(static_cast<double>(square)));
    std::sort(distances.begin(), distances.end());
    result.d1.push_back(distances[0]);
    result.d2.push_back(distances[1]);
  }
  return result;
}

}  // namespace unet_fast::test
