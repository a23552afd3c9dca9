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
