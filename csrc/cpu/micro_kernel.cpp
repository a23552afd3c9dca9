// The micro-kernels: everything that decides their shape is a template argument, so that the sums are registers.
#include "cpu/micro_kernel.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// What is asked of the whole block is asked once, not vector by vector.
template <Use kUse, int kVectors, int kGroup, int kItems>
UNET_FAST_FUNCTION void finish(const MicroKernelArgs& args, const Vector (&sum)[kItems][kVectors]) {
  float* const out = args.sum;
  const int64_t item = args.sum_item;
  const auto write = [&](const auto& put) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < kItems; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) put(out + i * item + v * kLanes, sum[i][v]);
    }
  };
  if constexpr (kUse == Use::gradient) {
    args.adds ? write([](float* to, Vector value) { store(to, load(to) + value); }) : write(store);
  } else if constexpr (kUse == Use::panels) {
    args.streams ? write(stream) : write(store);
  } else if constexpr (kGroup == 2) {
    write([relu = args.relu](float* to, Vector value) {
      const HalfVector half = add_pairs(value), result = relu ? rectify(half) : half;
      memcpy(to, &result, sizeof result);
    });
  } else {
    args.relu ? write([](float* to, Vector value) { store(to, rectify(value)); }) : write(store);
  }
}

// Of a panel. Where few registers make a step short, its addresses and prefetches count: they are constants of the
// whole panel.
constexpr int kUnrolledSteps = kRegisters == 32 ? 4 : kPanel;

template <Use kUse, int kVectors, int kGroup, int kItems>
void multiply(const MicroKernelArgs& args) {
  Vector sum[kItems][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kItems; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sum[i][v] = kUse != Use::gradient && args.bias ? load(args.bias + v * kLanes) : Vector{};
    }
  }
  if (kUse == Use::panels && args.adds) {
#pragma GCC unroll 16
    for (int i = 0; i < kItems; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[i][v] = load(args.sum + i * args.sum_item + v * kLanes);
    }
  }
  // Pixels lie apart. Three of them share a pointer (offsets of 0, 1 and 2 strides are one addressing mode each), or
  // the pointers would not fit into the registers.
  constexpr int kShare = kUse == Use::product ? 3 : kItems;
  constexpr int kPointers = (kItems + kShare - 1) / kShare;
  const float* b = args.b;
  const float* next = args.next;
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* a[kPointers];
    for (int q = 0; q < kPointers; ++q) a[q] = args.a + row * args.a_row + q * kShare * args.a_item;
    const auto add_step = [&](int64_t step) __attribute__((always_inline)) {
      Vector factor[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) factor[v] = load(b + v * kLanes);
      if (step % prefetch_steps(kUse) == 0) {
        __builtin_prefetch(next, kUse == Use::gradient, 2);
        next += args.next_step;
      }
#pragma GCC unroll 16
      for (int i = 0; i < kItems; ++i) {
        const int64_t a_item = kUse == Use::product ? args.a_item : kUse == Use::panels ? kPanel : kGroup;
        const Vector value = broadcast<kGroup>(a[i / kShare] + i % kShare * a_item);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[i][v] += value * factor[v];
      }
#pragma GCC unroll 16
      for (int q = 0; q < kPointers; ++q) a[q] += kUse == Use::panels ? 1 : args.a_step;
      b += kVectors * kLanes;
    };
    if constexpr (kUse == Use::panels) {
#pragma GCC unroll kUnrolledSteps
      for (int64_t step = 0; step < kPanel; ++step) add_step(step);
    } else {
#pragma GCC unroll 4
      for (int64_t step = 0; step < args.depth; ++step) add_step(step);
    }
  }
  finish<kUse, kVectors, kGroup, kItems>(args, sum);
}

template <Use kUse, int kVectors, int kGroup, int kItems>
MicroKernel select(int items) {
  if (items == kItems) return multiply<kUse, kVectors, kGroup, kItems>;
  if constexpr (kItems > 1) return select<kUse, kVectors, kGroup, kItems - 1>(items);
  return nullptr;
}

template <Use kUse>
MicroKernel select(int vectors, int group, int items) {
  if (vectors == 2) return select<kUse, 2, 1, max_items(2)>(items);
  if constexpr (kUse != Use::panels) {
    if (group == 2) return select<kUse, 1, 2, max_items(1)>(items);
  }
  return select<kUse, 1, 1, max_items(1)>(items);
}

}  // namespace

MicroKernel micro_kernel(Use use, int vectors, int group, int items) {
  switch (use) {
    case Use::product: return select<Use::product>(vectors, group, items);
    case Use::panels: return select<Use::panels>(vectors, group, items);
    default: return select<Use::gradient>(vectors, group, items);
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
