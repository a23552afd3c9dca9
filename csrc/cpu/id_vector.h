// Vectors of the widest registers of the instruction set: kLanes int32, and as many instance ids of 32 or 64 bits.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/portable.h"

// Vectors wider than a register have no settled calling convention; everything here is inlined, so none is needed.
#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace unet_fast::UNET_FAST_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kLanes = kVectorBytes / 4;

using Ints = int32_t __attribute__((vector_size(kVectorBytes)));
using Longs = int64_t __attribute__((vector_size(2 * kVectorBytes)));
template <class Id>
using IdVector = std::conditional_t<sizeof(Id) == 4, Ints, Longs>;

template <class Id>
constexpr Id kLeastId = Id{1} << (8 * sizeof(Id) - 1);
template <class Id>
constexpr Id kGreatestId = ~kLeastId<Id>;

template <class Vector, class T>
UNET_FAST_METHOD Vector load(const T* from) {
  Vector vector;
  memcpy(&vector, from, sizeof vector);
  return vector;
}

template <class Vector, class T>
UNET_FAST_METHOD void store(T* to, const Vector& vector) {
  memcpy(to, &vector, sizeof vector);
}

// A mask of ids (-1 or 0 in each lane) as a mask of int32.
UNET_FAST_METHOD Ints as_ints(const Ints& mask) { return mask; }
UNET_FAST_METHOD Ints as_ints(const Longs& mask) { return __builtin_convertvector(mask, Ints); }

// mask ? yes : no
template <class Id>
UNET_FAST_METHOD IdVector<Id> pick(const Ints& mask, const IdVector<Id>& yes, const IdVector<Id>& no) {
  if constexpr (sizeof(Id) == 4) {
    return mask ? yes : no;
  } else {
    return __builtin_convertvector(mask, Longs) ? yes : no;
  }
}

// Whether any lane is not zero.
UNET_FAST_METHOD bool any(const Ints& mask) {
#if defined(__AVX512F__)
  const auto bits = reinterpret_cast<const __m512i&>(mask);
  return _mm512_test_epi32_mask(bits, bits) != 0;
#elif defined(__AVX2__)
  const auto bits = reinterpret_cast<const __m256i&>(mask);
  return !_mm256_testz_si256(bits, bits);
#elif defined(__SSE2__)
  return _mm_movemask_epi8(reinterpret_cast<const __m128i&>(mask)) != 0;
#else
  int32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= mask[i];
  return bits != 0;
#endif
}

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
