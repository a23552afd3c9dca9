// The search for the two nearest distinct instances on CUDA; see ops/nearest_two_distances.h for the lemma.
//
//   columns   one thread per column and segment of 64 rows. It sweeps down and up from `reach` rows outside its segment
//             and writes for each pixel the two vertically nearest distinct instances.
//   rows      one thread per pixel walks left and right: k = 1, 2, ... until k alone is farther than the second nearest
//             found, or than `reach` allows. Neighbouring threads read neighbouring candidates.
#pragma once

#include <type_traits>

#include "core/instance.h"
#include "cuda/device.cuh"
#include "ops/nearest_two_distances.h"

namespace unet_fast {
namespace {

constexpr int kNearestBlock = 128;
constexpr int64_t kSegmentRows = 64;
constexpr int32_t kNowhere = 1 << 15;  // its square is kInfiniteSquare

template <class T>
using IdOf = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;  // unsigned 32-bit ids keep their bits

// Two distinct instances of one column, nearest first, for each pixel of the batch.
template <class Id>
struct Candidates {
  Id* id[2];           // [N, H, W]
  int32_t* square[2];  // [N, H, W] squared vertical distances

  Candidates(void* workspace, int64_t pixels) {
    id[0] = static_cast<Id*>(workspace);
    id[1] = id[0] + pixels;
    square[0] = reinterpret_cast<int32_t*>(id[1] + pixels);
    square[1] = square[0] + pixels;
  }
};

// The last two distinct instances that a sweep has met.
template <class Id>
struct Met {
  int32_t row[2];
  Id id[2];

  __device__ __forceinline__ void step(Id here, int32_t y) {
    if (here == 0) return;
    if (here != id[0]) {
      row[1] = row[0];
      id[1] = id[0];
    }
    row[0] = y;
    id[0] = here;
  }
};

// The two nearest distinct instances, first nearest, by distance or squared distance.
template <class Id>
struct Nearest {
  int32_t distance[2];
  Id id[2];

  __device__ __forceinline__ void insert(int32_t other, Id other_id) {
    if (other_id != id[0]) {
      if (other < distance[0]) {
        distance[1] = distance[0];
        id[1] = id[0];
      } else if (other < distance[1]) {
        distance[1] = other;
        id[1] = other_id;
      }
    }
    if (other < distance[0]) {
      distance[0] = other;
      id[0] = other_id;
    }
  }
};

// `reach` is a function object: weight_map derives its reach from weights that only the device knows.
template <class T, class Reach>
__global__ void nearest_two_columns_kernel(InstanceMaps maps, Reach reach_of, Candidates<IdOf<T>> candidates) {
  using Id = IdOf<T>;
  const LabelMeaning<T> meaning(maps.ignored);
  const T* labels = static_cast<const T*>(maps.labels);
  const auto id_at = [&](int64_t pixel) {
    const T label = labels[pixel];
    return meaning.is_instance(label) ? static_cast<Id>(label) : Id{0};
  };
  const int32_t reach = reach_of(), farthest = reach < kNowhere - 1 ? reach : kNowhere - 1;
  const int64_t segments = (maps.height + kSegmentRows - 1) / kSegmentRows;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kNearestBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kNearestBlock + threadIdx.x;
       i < maps.images * segments * maps.width; i += step) {
    const int64_t x = i % maps.width, segment = i / maps.width % segments, image = i / maps.width / segments;
    const int64_t begin = segment * kSegmentRows;
    const int64_t end = begin + kSegmentRows < maps.height ? begin + kSegmentRows : maps.height;
    const int64_t column = image * maps.height * maps.width + x;
    Met<Id> above = {{-2 * kNowhere, -2 * kNowhere}, {0, 0}};
    for (int64_t y = begin > farthest ? begin - farthest : 0; y < end; ++y) {
      const int64_t pixel = column + y * maps.width;
      above.step(id_at(pixel), static_cast<int32_t>(y));
      if (y < begin) continue;
      for (int k = 0; k < 2; ++k) {
        candidates.square[k][pixel] = static_cast<int32_t>(y) - above.row[k];
        candidates.id[k][pixel] = above.id[k];
      }
    }
    Met<Id> below = {{3 * kNowhere, 3 * kNowhere}, {0, 0}};
    for (int64_t y = (end + farthest < maps.height ? end + farthest : maps.height) - 1; y >= begin; --y) {
      const int64_t pixel = column + y * maps.width;
      below.step(id_at(pixel), static_cast<int32_t>(y));
      if (y >= end) continue;
      Nearest<Id> nearest = {{candidates.square[0][pixel], candidates.square[1][pixel]},
                             {candidates.id[0][pixel], candidates.id[1][pixel]}};
      // In this order: the farther one below cannot be nearer than the first any more.
      nearest.insert(below.row[0] - static_cast<int32_t>(y), below.id[0]);
      nearest.insert(below.row[1] - static_cast<int32_t>(y), below.id[1]);
      for (int k = 0; k < 2; ++k) {
        const bool found = nearest.distance[k] <= farthest;
        candidates.square[k][pixel] = found ? nearest.distance[k] * nearest.distance[k] : kInfiniteSquare;
        candidates.id[k][pixel] = found ? nearest.id[k] : Id{0};
      }
    }
  }
}

// `consumer` has wants(pixel) and take(pixel, d1, d2) with squared distances.
template <class Id, class Reach, class Consumer>
__global__ void nearest_two_rows_kernel(InstanceMaps maps, Reach reach_of, Candidates<Id> candidates,
                                        Consumer consumer) {
  const int32_t reach = reach_of();
  const int64_t step = static_cast<int64_t>(gridDim.x) * kNearestBlock;
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * kNearestBlock + threadIdx.x; pixel < maps.pixels();
       pixel += step) {
    if (!consumer.wants(pixel)) {
      consumer.take(pixel, kInfiniteSquare, kInfiniteSquare);
      continue;
    }
    const auto x = static_cast<int32_t>(pixel % maps.width), right = static_cast<int32_t>(maps.width) - 1 - x;
    Nearest<Id> nearest = {{candidates.square[0][pixel], candidates.square[1][pixel]}, {candidates.id[0][pixel], 0}};
    const auto insert = [&](int64_t other, int32_t square) {
      for (int k = 0; k < 2; ++k) {
        const int32_t distance = candidates.square[k][other] + square;
        if (distance >= nearest.distance[1]) return;  // its second candidate is farther still
        nearest.insert(distance, candidates.id[k][other]);
      }
    };
    for (int32_t k = 1; (k <= x || k <= right) && nearest.distance[1] > k * k; ++k) {
      // What is not yet seen is at least k away, so the sum of both distances is at least d1 + k if d1 <= k, else 2 k.
      const int32_t rest = reach - k;
      if (2 * k > reach && (rest < 0 || nearest.distance[0] > rest * rest)) break;
      if (k <= x) insert(pixel - k, k * k);
      if (k <= right) insert(pixel + k, k * k);
    }
    consumer.take(pixel, nearest.distance[0], nearest.distance[1]);
  }
}

// ---------------------------------------------------------------------------------------------------------------------

template <class Reach, class Consumer>
const char* find_nearest_two(const InstanceMaps& maps, const Reach& reach, void* workspace, const Consumer& consumer,
                             const Stream& stream) {
  const char* error = nullptr;
  visit_label_type(maps.dtype, [&](auto label) {
    using T = decltype(label);
    const Candidates<IdOf<T>> candidates(workspace, maps.pixels());
    const int64_t segments = (maps.height + kSegmentRows - 1) / kSegmentRows;
    error = launch(nearest_two_columns_kernel<T, Reach>, grid_for(maps.images * segments * maps.width, kNearestBlock),
                   kNearestBlock, 0, stream, maps, reach, candidates);
    if (error) return;
    error = launch(nearest_two_rows_kernel<IdOf<T>, Reach, Consumer>, grid_for(maps.pixels(), kNearestBlock),
                   kNearestBlock, 0, stream, maps, reach, candidates, consumer);
  });
  return error;
}

}  // namespace
}  // namespace unet_fast
