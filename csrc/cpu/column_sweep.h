// A sweep over the rows of an instance map that remembers the last two distinct instances of each column, and the two
// nearest of what two sweeps, down and up, have met.
#pragma once

#include "core/instance.h"
#include "cpu/id_vector.h"
#include "cpu/nearest_two_layout.h"
#include "ops/nearest_two_distances.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// Distance to an instance that is not there; its square is kInfiniteSquare.
constexpr int32_t kNowhere = 1 << 15;
static_assert(kNowhere * kNowhere == kInfiniteSquare && kMaxDistanceSide < kNowhere);
constexpr int64_t kVectors = kStrip / kLanes;  // of a strip
constexpr int64_t kMostStrips = 8;  // that one thread sweeps together: their state fits the first-level cache

UNET_FAST_FUNCTION int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

// kStrip labels of one row as ids (0: no instance); zeros behind the image's right edge.
template <class T, class Id>
void read_strip(const InstanceMaps& maps, int64_t row, int64_t strip, Id* __restrict ids) {
  const LabelMeaning<T> meaning(maps.ignored);
  const T* labels = static_cast<const T*>(maps.labels) + row * maps.width + strip * kStrip;
  const int64_t left = maps.width - strip * kStrip;
  if (left >= kStrip) {
    for (int64_t x = 0; x < kStrip; ++x) ids[x] = meaning.is_instance(labels[x]) ? static_cast<Id>(labels[x]) : Id{0};
  } else {
    for (int64_t x = 0; x < kStrip; ++x) {
      ids[x] = x < left && meaning.is_instance(labels[x]) ? static_cast<Id>(labels[x]) : Id{0};
    }
  }
}

// The last two distinct instances that a sweep over the rows has met.
template <class Id>
struct Met {
  Ints row[2];
  IdVector<Id> id[2];

  UNET_FAST_METHOD void step(const Id* ids, int32_t y) {
    const auto here = load<IdVector<Id>>(ids);
    const IdVector<Id> latest = here != 0 ? here : id[0];
    const Ints changed = as_ints(latest != id[0]);
    row[1] = changed ? row[0] : row[1];
    id[1] = latest != id[0] ? id[0] : id[1];
    row[0] = as_ints(here != 0) ? Ints{} + y : row[0];
    id[0] = latest;
  }
};

template <class Id>
struct MetInStrip {
  Met<Id> vector[kVectors];

  // Nothing yet, coming from row `start` (before the first or behind the last by more than kNowhere).
  UNET_FAST_METHOD void clear(int32_t start) {
    for (Met<Id>& met : vector) met = {{Ints{} + start, Ints{} + start}, {}};
  }
  UNET_FAST_METHOD void step(const Id* ids, int32_t y) {
    for (int64_t v = 0; v < kVectors; ++v) vector[v].step(ids + v * kLanes, y);
  }
};

template <class Id>
struct Candidate {
  Ints distance;  // or its square
  IdVector<Id> id;
};

// The two nearest distinct instances, first nearest.
template <class Id>
struct Nearest {
  Candidate<Id> first, second;

  // Takes in one more. Where it is nearer than the first, the first may become the second.
  UNET_FAST_METHOD void insert(const Candidate<Id>& other) {
    const Ints nearer = other.distance < first.distance;
    const Candidate<Id> loser = {nearer ? first.distance : other.distance, pick<Id>(nearer, first.id, other.id)};
    const Ints replaces = as_ints(other.id != first.id) & (loser.distance < second.distance);
    second = {replaces ? loser.distance : second.distance, pick<Id>(replaces, loser.id, second.id)};
    first = {nearer ? other.distance : first.distance, pick<Id>(nearer, other.id, first.id)};
  }
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
