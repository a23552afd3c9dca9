// The vector of one instruction set, as GCC and Clang spell it: arithmetic by operators, `mask ? a : b` by lane.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "core/dtype.h"

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
typedef float HalfVector __attribute__((vector_size(kLanes * sizeof(float) / 2)));

// A vector as pairs of lanes, (2j, 2j + 1) with 2j in the lower bits, and half a vector as integers.
typedef uint64_t Pairs __attribute__((vector_size(sizeof(Vector))));
typedef uint32_t HalfBits __attribute__((vector_size(sizeof(HalfVector))));

UNET_FAST_FUNCTION Vector load(const float* from) {
  Vector result;
  memcpy(&result, from, sizeof result);
  return result;
}

UNET_FAST_FUNCTION void store(float* to, Vector value) { memcpy(to, &value, sizeof value); }

// The first `count` lanes (at most kLanes) from memory, zeros behind; nothing beyond them is touched.
UNET_FAST_FUNCTION Vector load_lanes(const float* from, int64_t count) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
#elif defined(__AVX2__)
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes));
#else
  Vector result = {};
  for (int64_t lane = 0; lane < count; ++lane) result[lane] = from[lane];
  return result;
#endif
}

UNET_FAST_FUNCTION void store_lanes(float* to, Vector value, int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), value);
#elif defined(__AVX2__)
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes), value);
#else
  for (int64_t lane = 0; lane < count; ++lane) to[lane] = value[lane];
#endif
}

// Half a vector from one place, half from another.
UNET_FAST_FUNCTION Vector load_halves(const float* lower, const float* upper) {
#if defined(__AVX512F__)
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(lower)), _mm256_loadu_ps(upper), 1);
#elif defined(__AVX2__)
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(lower)), _mm_loadu_ps(upper), 1);
#else
  HalfVector halves[2];
  memcpy(&halves[0], lower, sizeof(HalfVector));
  memcpy(&halves[1], upper, sizeof(HalfVector));
  return __builtin_shufflevector(halves[0], halves[1], 0, 1, 2, 3);
#endif
}

// The same for values of any floating-point type.
template <class T>
UNET_FAST_FUNCTION Vector load_values(const T* from, int64_t count) {
  if constexpr (std::is_same_v<T, float>) {
    return load_lanes(from, count);
  } else {
    float values[kLanes] = {};
    for (int64_t lane = 0; lane < count; ++lane) values[lane] = to_float(from[lane]);
    return load(values);
  }
}

template <class T>
UNET_FAST_FUNCTION void store_values(T* to, Vector value, int64_t count) {
  if constexpr (std::is_same_v<T, float>) {
    store_lanes(to, value, count);
  } else {
    for (int64_t lane = 0; lane < count; ++lane) to[lane] = from_float<T>(value[lane]);
  }
}

// The first kGroup values at `from`, again and again: a b a b ... for 2. One load without arithmetic.
template <int kGroup>
UNET_FAST_FUNCTION Vector broadcast(const float* from) {
  if constexpr (kGroup == 1) {
    return *from - Vector{};
  } else {
    static_assert(kGroup == 2);
    uint64_t pair;
    memcpy(&pair, from, sizeof pair);
    return reinterpret_cast<Vector>(pair + Pairs{});
  }
}

// Lane j of the result is the sum of lanes 2j and 2j + 1.
UNET_FAST_FUNCTION HalfVector add_pairs(Vector value) {
  const Vector odd_lanes = reinterpret_cast<Vector>(reinterpret_cast<Pairs>(value) >> 32);  // in the even places
  const Pairs sums = reinterpret_cast<Pairs>(value + odd_lanes);
  return reinterpret_cast<HalfVector>(__builtin_convertvector(sums, HalfBits));  // keeps the even places
}

UNET_FAST_FUNCTION HalfVector lower_half(Vector value) {
  HalfVector result;
  memcpy(&result, &value, sizeof result);
  return result;
}

// Lanes 2j and 2j + 1 of the result are lane j.
UNET_FAST_FUNCTION Vector repeat_lanes(HalfVector value) {
  const Pairs even_places = __builtin_convertvector(reinterpret_cast<HalfBits>(value), Pairs);
  return reinterpret_cast<Vector>(even_places | even_places << 32);
}

// Stores past the caches, without reading the line first. Others may read it after finish_streams.
UNET_FAST_FUNCTION void stream(float* to, Vector value) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, value);
#elif defined(__AVX2__)
  _mm256_stream_ps(to, value);
#else
  store(to, value);
#endif
}

UNET_FAST_FUNCTION void finish_streams() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}

// Whether to stream a result of so many floats: it is too large to lie in a cache still, from the pass before or for
// whoever reads it next, and `whole_lines` of it are written at once. Half a line would cost more than it saves.
UNET_FAST_FUNCTION bool streams_pay(const void* result, int64_t floats, bool whole_lines = sizeof(Vector) == 64) {
  constexpr int64_t kCachedFloats = 4 << 20, kLine = 64;  // bytes
  return whole_lines && floats > kCachedFloats && reinterpret_cast<uintptr_t>(result) % kLine == 0;
}

// Asks for memory that will be needed soon, while there is something else to do.
UNET_FAST_FUNCTION void prefetch(const void* from, int64_t bytes) {
  constexpr int64_t kLine = 64;
  for (int64_t i = 0; i < bytes; i += kLine) __builtin_prefetch(static_cast<const char*>(from) + i);
}

// `a` where it is greater (less) than `b`, else `b`: also where one of them is NaN.
UNET_FAST_FUNCTION Vector greater_of(Vector a, Vector b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

UNET_FAST_FUNCTION Vector lesser_of(Vector a, Vector b) {
#if defined(__AVX512F__)
  return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}

// Which lanes a later value wins over the best so far, in the order of torch's max_pool2d: where it is greater, and
// always where it is NaN.
UNET_FAST_FUNCTION auto wins(Vector value, Vector best) { return (value > best) | (value != value); }

UNET_FAST_FUNCTION Vector later_maximum(Vector best, Vector value) { return wins(value, best) ? value : best; }

// max(value, 0), NaN stays NaN.
template <class V>
UNET_FAST_FUNCTION V rectify(V value) {
  return value < V{} ? V{} : value;
}

// value where gate > 0, 0 elsewhere: the gradient of a ReLU.
UNET_FAST_FUNCTION Vector gated(Vector value, Vector gate) { return gate <= Vector{} ? Vector{} : value; }

}  // namespace unet_fast::UNET_FAST_ISA
