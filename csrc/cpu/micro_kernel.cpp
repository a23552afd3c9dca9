// The micro-kernels: everything that decides their shape is a template argument, so that the sums are registers.
#include "cpu/micro_kernel.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// Lane j of the result is the sum of lanes 2j and 2j + 1.
typedef float HalfVector __attribute__((vector_size(sizeof(Vector) / 2)));

UNET_FAST_FUNCTION HalfVector add_pairs(Vector value) {
  typedef uint64_t Pairs __attribute__((vector_size(sizeof(Vector))));
  typedef uint32_t HalfBits __attribute__((vector_size(sizeof(Vector) / 2)));
  const Vector odd_lanes = reinterpret_cast<Vector>(reinterpret_cast<Pairs>(value) >> 32);  // in the even places
  const Pairs sums = reinterpret_cast<Pairs>(value + odd_lanes);
  return reinterpret_cast<HalfVector>(__builtin_convertvector(sums, HalfBits));  // keeps the even places
}

template <int kVectors, int kGroup, int kItems>
void multiply(const MicroKernelArgs& args) {
  Vector sum[kItems][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kItems; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sum[i][v] = args.start ? load(args.start + v * kLanes) : Vector{};
    }
  }
  // Three items share one pointer (offsets 0, 1 and 2 strides are one addressing mode), or the pointers would not fit
  // into the registers.
  constexpr int kPointers = (kItems + 2) / 3;
  const float* b = args.b;
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* a[kPointers];
    for (int q = 0; q < kPointers; ++q) a[q] = args.a + row * args.a_row + 3 * q * args.a_item;
    for (int64_t step = 0; step < args.depth; ++step) {
      Vector factor[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) factor[v] = load(b + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kItems; ++i) {
        const Vector value = broadcast<kGroup>(a[i / 3] + i % 3 * args.a_item);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[i][v] += value * factor[v];
      }
#pragma GCC unroll 16
      for (int q = 0; q < kPointers; ++q) a[q] += args.a_step;
      b += kVectors * kLanes;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kItems; ++i) {
    float* out = args.sum + i * args.sum_item;
    if (args.accumulate) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) store(out + v * kLanes, load(out + v * kLanes) + sum[i][v]);
    } else if constexpr (kGroup == 2) {
      const HalfVector half = add_pairs(sum[i][0]);
      const HalfVector result = args.relu ? rectify(half) : half;
      memcpy(out, &result, sizeof result);
    } else {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) store(out + v * kLanes, args.relu ? rectify(sum[i][v]) : sum[i][v]);
    }
  }
}

template <int kVectors, int kGroup, int kItems>
MicroKernel select(int items) {
  if (items == kItems) return multiply<kVectors, kGroup, kItems>;
  if constexpr (kItems > 1) return select<kVectors, kGroup, kItems - 1>(items);
  return nullptr;
}

}  // namespace

MicroKernel micro_kernel(int vectors, int group, int items) {
  if (vectors == 2) return select<2, 1, max_items(2)>(items);
  if (group == 2) return select<1, 2, max_items(1)>(items);
  return select<1, 1, max_items(1)>(items);
}

}  // namespace unet_fast::UNET_FAST_ISA
