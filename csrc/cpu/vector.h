// The vector of one instruction set, as GCC and Clang spell it: arithmetic by operators, `mask ? a : b` by lane.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/portable.h"

namespace unet_fast::UNET_FAST_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#else
constexpr int kLanes = 4;
constexpr int kRegisters = 16;
#endif

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));

UNET_FAST_FUNCTION Vector load(const float* from) {
  Vector result;
  memcpy(&result, from, sizeof result);
  return result;
}

UNET_FAST_FUNCTION void store(float* to, Vector value) { memcpy(to, &value, sizeof value); }

// The first kGroup values at `from`, again and again: a b a b ... for 2. One load without arithmetic.
template <int kGroup>
UNET_FAST_FUNCTION Vector broadcast(const float* from) {
  if constexpr (kGroup == 1) {
    return *from - Vector{};
  } else {
    static_assert(kGroup == 2);
    typedef int64_t Pairs __attribute__((vector_size(sizeof(Vector))));
    int64_t pair;
    memcpy(&pair, from, sizeof pair);
    return reinterpret_cast<Vector>(pair + Pairs{});
  }
}

// max(value, 0), NaN stays NaN.
template <class V>
UNET_FAST_FUNCTION V rectify(V value) {
  return value < V{} ? V{} : value;
}

}  // namespace unet_fast::UNET_FAST_ISA
