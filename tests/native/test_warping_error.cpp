// warping_error against its definition, step by step: the mismatches are found and sorted anew in every round, and
// components are flooded anew for every question.
#include "ops/warping_error.h"

#include <algorithm>
#include <set>

#include "check.h"

namespace unet_fast::test {
namespace {

struct Image {
  int64_t height, width;
  std::vector<int> pixels;

  Image(int64_t h, int64_t w) : height(h), width(w), pixels(h * w) {}
  bool holds(int64_t y, int64_t x) const { return y >= 0 && y < height && x >= 0 && x < width; }
  int& at(int64_t y, int64_t x) { return pixels[y * width + x]; }
  int at(int64_t y, int64_t x) const { return pixels[y * width + x]; }
};

// Numbers from 1 for the components of the pixels of `value`, with 4 or 8 neighbours.
Image components(const Image& image, int value, int neighbours) {
  Image ids(image.height, image.width);
  int count = 0;
  for (int64_t start = 0; start < image.height * image.width; ++start) {
    if (image.pixels[start] != value || ids.pixels[start]) continue;
    std::vector<int64_t> stack = {start};
    ids.pixels[start] = ++count;
    while (!stack.empty()) {
      const int64_t y = stack.back() / image.width, x = stack.back() % image.width;
      stack.pop_back();
      for (int64_t dy = -1; dy <= 1; ++dy) {
        for (int64_t dx = -1; dx <= 1; ++dx) {
          if ((neighbours == 4 && dy * dx != 0) || !image.holds(y + dy, x + dx)) continue;
          if (image.at(y + dy, x + dx) != value || ids.at(y + dy, x + dx)) continue;
          ids.at(y + dy, x + dx) = count;
          stack.push_back((y + dy) * image.width + x + dx);
        }
      }
    }
  }
  return ids;
}

int pixel_or_background(const Image& image, int64_t y, int64_t x) { return image.holds(y, x) ? image.at(y, x) : 0; }

bool is_simple(const Image& level, int64_t y, int64_t x) {
  Image objects(3, 3), background(3, 3);
  for (int64_t i = 0; i < 9; ++i) {
    const int value = pixel_or_background(level, y + i / 3 - 1, x + i % 3 - 1);
    objects.pixels[i] = i != 4 && value;
    background.pixels[i] = i != 4 && !value;
  }
  const Image object_ids = components(objects, 1, 4), background_ids = components(background, 1, 8);
  std::set<int> touching;
  for (const int i : {1, 3, 5, 7}) touching.insert(object_ids.pixels[i]);
  touching.erase(0);
  const std::vector<int>& ids = background_ids.pixels;
  return touching.size() == 1 && *std::max_element(ids.begin(), ids.end()) == 1;
}

std::set<int> ids_around(const Image& ids, int64_t y, int64_t x) {
  std::set<int> around;
  for (int64_t dy = -1; dy <= 1; ++dy) {
    for (int64_t dx = -1; dx <= 1; ++dx) {
      if ((dy || dx) && ids.holds(y + dy, x + dx)) around.insert(ids.at(y + dy, x + dx));
    }
  }
  return around;
}

int type_of(const Image& level, int64_t y, int64_t x, int64_t radius) {
  const std::set<int> ids = ids_around(components(level, 1, 4), y, x);
  const bool object = level.at(y, x);
  if (ids.empty() || ids == std::set<int>{0}) return object ? kObjectDeletion : kObjectAddition;
  if (ids.size() == 1) return object ? kHoleAddition : kHoleDeletion;
  if (ids.size() > 2) return object ? kSplit : kMerge;
  if (!object) return kHoleAddition;
  const int64_t top = radius < 0 ? 0 : std::max<int64_t>(y - radius, 0);
  const int64_t left = radius < 0 ? 0 : std::max<int64_t>(x - radius, 0);
  const int64_t bottom = radius < 0 ? level.height : std::min(y + radius + 1, level.height);
  const int64_t right = radius < 0 ? level.width : std::min(x + radius + 1, level.width);
  Image window(bottom - top, right - left);
  for (int64_t v = top; v < bottom; ++v) {
    for (int64_t u = left; u < right; ++u) window.at(v - top, u - left) = level.at(v, u) && !(v == y && u == x);
  }
  return ids_around(components(window, 1, 4), y - top, x - left).size() > 2 ? kSplit : kHoleDeletion;
}

// Warps `level` and returns the map of residual types.
Image warp(Image& level, const float* probability, float threshold, const uint8_t* mask, int64_t radius) {
  std::vector<int64_t> mismatches;
  for (size_t before = SIZE_MAX;; before = mismatches.size()) {
    mismatches.clear();
    for (int64_t x = 0; x < level.width; ++x) {
      for (int64_t y = 0; y < level.height; ++y) {
        const int64_t i = y * level.width + x;
        if (level.pixels[i] != (probability[i] > threshold) && (!mask || mask[i])) mismatches.push_back(i);
      }
    }
    if (mismatches.empty() || mismatches.size() == before) break;
    std::stable_sort(mismatches.begin(), mismatches.end(), [&](int64_t a, int64_t b) {
      return std::abs(probability[a] - threshold) > std::abs(probability[b] - threshold);
    });
    for (const int64_t i : mismatches) level.pixels[i] ^= is_simple(level, i / level.width, i % level.width);
  }
  Image types(level.height, level.width);
  for (const int64_t i : mismatches) types.pixels[i] = type_of(level, i / level.width, i % level.width, radius);
  return types;
}

struct Case {
  int64_t slices, height, width, lanes, radius;
  int64_t values;  // of the probability, few for many ties
  bool masked;
};

void equals_definition(const Case& shape) {
  Random random(shape.height * 100 + shape.width);
  const int64_t levels = 3, image = shape.height * shape.width, pixels = shape.slices * image;
  const Buffer<uint8_t> truth(pixels, [&](int64_t) { return random.integer(0, 2) ? 255 : 0; });
  const Buffer<float> probability(pixels, [&](int64_t i) {
    return random.integer(0, 3) ? (truth[i] != 0) : static_cast<float>(random.integer(0, shape.values)) / shape.values;
  });
  const Buffer<float> thresholds(levels, [&](int64_t i) { return 0.25f * i; });
  const Buffer<uint8_t> mask(pixels, [&](int64_t) { return random.integer(0, 4) > 0; });
  Buffer<uint8_t> expected_types(pixels * levels), expected_level(pixels * levels);
  Buffer<int64_t> expected_counts(shape.slices * levels * kWarpingErrorTypes, [](int64_t) { return 0; });
  for (int64_t task = 0; task < shape.slices * levels; ++task) {
    const int64_t first = task / levels * image;
    Image level(shape.height, shape.width);
    for (int64_t i = 0; i < image; ++i) level.pixels[i] = truth[first + i] != 0;
    const Image types = warp(level, probability.data() + first, thresholds[task % levels],
                             shape.masked ? mask.data() + first : nullptr, shape.radius);
    for (int64_t i = 0; i < image; ++i) {
      expected_types[task * image + i] = types.pixels[i];
      expected_level[task * image + i] = level.pixels[i];
      if (types.pixels[i]) ++expected_counts[task * kWarpingErrorTypes + types.pixels[i] - 1];
    }
  }
  on_every_device<WarpingErrorArgs>(warping_error_cpu, nullptr, [&](const Device<WarpingErrorArgs>& device) {
    for (const bool maps : {true, false}) {
      Buffer<uint8_t> residual(pixels * levels), warped(pixels * levels);
      Buffer<int64_t> counts(expected_counts.size());
      Buffer<uint32_t> workspace(shape.lanes * kWarpingErrorPlanes * (shape.height + 2) * (shape.width + 2));
      device.run({
          .truth = truth.data(),
          .probability = probability.data(),
          .thresholds = thresholds.data(),
          .mask = shape.masked ? mask.data() : nullptr,
          .slices = shape.slices,
          .levels = levels,
          .height = shape.height,
          .width = shape.width,
          .radius = shape.radius,
          .counts = counts.data(),
          .residual = maps ? residual.data() : nullptr,
          .warped = maps ? warped.data() : nullptr,
          .workspace = workspace.data(),
          .lanes = shape.lanes,
      });
      const std::string what = text(device.name, ", ", shape.height, " x ", shape.width, ", radius ", shape.radius);
      check(counts == expected_counts, what + ": counts");
      if (maps) check(residual == expected_types, what + ": types");
      if (maps) check(warped == expected_level, what + ": warped truth");
    }
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  const Case cases[] = {{1, 1, 1, 1, 20, 1, false},  {2, 1, 9, 2, 20, 3, true},   {2, 7, 1, 1, 1, 3, false},
                        {2, 2, 2, 4, 2, 8, false},   {3, 17, 15, 3, -1, 8, true}, {2, 24, 33, 2, 3, 1000, false},
                        {1, 33, 16, 9, 5, 2, false}, {0, 8, 8, 1, 20, 2, false},  {1, 30, 40, 1, 20, 1, true}};
  for (const Case& shape : cases) equals_definition(shape);
  return report();
}
