// Transposes in registers.
#pragma once

#include <utility>

#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {

// Swaps the off-diagonal quarters of each square of 2 kStep rows: lanes with bit kStep set in `upper`, clear in
// `lower`.
template <int kStep, size_t... kLane>
UNET_FAST_FUNCTION void swap_quarters(Vector& upper, Vector& lower, std::index_sequence<kLane...>) {
  const Vector a = upper, b = lower;
  upper = __builtin_shufflevector(a, b, (kLane & kStep ? kLanes + kLane - kStep : kLane)...);
  lower = __builtin_shufflevector(a, b, (kLane & kStep ? kLanes + kLane : kLane + kStep)...);
}

// Of each square that kRows vectors are made of: lanes kRows j + c of the rows become the lanes of row c from kRows j
// on.
template <int kRows, int kStep = kRows / 2>
UNET_FAST_FUNCTION void transpose(Vector (&rows)[kRows]) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    if (!(i & kStep)) swap_quarters<kStep>(rows[i], rows[i + kStep], std::make_index_sequence<kLanes>());
  }
  if constexpr (kStep > 1) transpose<kRows, kStep / 2>(rows);
}

// columns[j][i] = from[i * stride + j]. Halves of rows are joined as they are loaded, which saves the first step.
UNET_FAST_FUNCTION void load_transposed(const float* from, int64_t stride, Vector (&columns)[kLanes]) {
  constexpr int kHalf = kLanes / 2;
#pragma GCC unroll 8
  for (int i = 0; i < kHalf; ++i) {
#pragma GCC unroll 2
    for (int half = 0; half < kLanes; half += kHalf) {
      columns[i + half] = load_halves(from + i * stride + half, from + (i + kHalf) * stride + half);
    }
  }
  transpose<kLanes, kHalf / 2>(columns);
}

// How many vectors further the value lies that a lane wants of kCount vectors; see deinterleave.
template <int kCount>
constexpr int lane_rotation(int lane) {
  int step = 1;  // makes kLanes step = -1 modulo kCount
  while ((kLanes * step + 1) % kCount != 0) ++step;
  return lane * step % kCount;
}

// A barrel shifter: lanes move by the bits kStep, 2 kStep, ... of their rotation.
template <int kCount, int kStep, size_t... kLane>
UNET_FAST_FUNCTION void rotate_lanes(Vector (&vectors)[kCount], std::index_sequence<kLane...> lanes) {
  if constexpr (((lane_rotation<kCount>(kLane) & kStep) || ...)) {
    Vector moved[kCount];
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      moved[i] = __builtin_shufflevector(vectors[i], vectors[(i + kStep) % kCount],
                                         (lane_rotation<kCount>(kLane) & kStep ? kLanes + kLane : kLane)...);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) vectors[i] = moved[i];
  }
  if constexpr (2 * kStep < kCount) rotate_lanes<kCount, 2 * kStep>(vectors, lanes);
}

template <int kCount, int kFirst, size_t... kLane>
UNET_FAST_FUNCTION Vector order_lanes(Vector value, std::index_sequence<kLane...>) {
  return __builtin_shufflevector(value, value, ((kFirst + kCount * kLane) % kLanes)...);
}

template <int kCount, class Out, size_t... kFrom>
UNET_FAST_FUNCTION void deinterleave(Vector (&vectors)[kCount], const Out& out, std::index_sequence<kFrom...>) {
  constexpr auto kAll = std::make_index_sequence<kLanes>();
  rotate_lanes<kCount, 1>(vectors, kAll);
  (out(kLanes * kFrom % kCount, order_lanes<kCount, kLanes * kFrom % kCount>(vectors[kFrom], kAll)), ...);
}

// out(j, values j, j + kCount, j + 2 kCount, ...) of kCount vectors side by side, where kCount is odd. These values lie
// in different lanes, so that no two of them get into each other's way: lane l of result j comes from the vector s for
// which kLanes s + l = j modulo kCount. First every lane is brought to its vector, then the lanes into their order.
template <int kCount, class Out>
UNET_FAST_FUNCTION void deinterleave(Vector (&vectors)[kCount], const Out& out) {
  deinterleave(vectors, out, std::make_index_sequence<kCount>());
}

template <size_t... kLane>
UNET_FAST_FUNCTION Vector quarters_in_order(Vector value, std::index_sequence<kLane...>) {
  return __builtin_shufflevector(value, value, (kLane % (kLanes / 4) * 4 + kLane / (kLanes / 4))...);
}

// Every fourth of 4 kLanes values side by side: parts[j] becomes values j, j + 4, j + 8, ...
UNET_FAST_FUNCTION void deinterleave_quarters(Vector (&parts)[4]) {
  transpose(parts);  // lane 4 j + i of a part came from vector i
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) parts[j] = quarters_in_order(parts[j], std::make_index_sequence<kLanes>());
}

}  // namespace unet_fast::UNET_FAST_ISA
