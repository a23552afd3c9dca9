// Neighbouring pixels and labels of any type as vectors of 32-bit lanes, and the choice among them by index and by
// mask.
#pragma once

#include <type_traits>

#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

typedef int32_t Indices __attribute__((vector_size(sizeof(Vector))));

typedef uint32_t Unsigned __attribute__((vector_size(sizeof(Vector))));

// Which lanes something holds for.
#if defined(__AVX512F__)
using Mask = __mmask16;

UNET_FAST_FUNCTION Mask equal(Indices a, Indices b) {
  return _mm512_cmpeq_epi32_mask(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b));
}
UNET_FAST_FUNCTION Mask less(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
UNET_FAST_FUNCTION Vector choose(Mask mask, Vector yes, Vector no) { return _mm512_mask_blend_ps(mask, no, yes); }
#else
using Mask = Indices;

UNET_FAST_FUNCTION Mask equal(Indices a, Indices b) { return a == b; }
UNET_FAST_FUNCTION Mask less(Vector a, Vector b) { return a < b; }
UNET_FAST_FUNCTION Vector choose(Mask mask, Vector yes, Vector no) { return mask ? yes : no; }
#endif

// a + b where `mask`, else `otherwise`.
UNET_FAST_FUNCTION Vector add_where(Mask mask, Vector a, Vector b, Vector otherwise) {
#if defined(__AVX512F__)
  return _mm512_mask_add_ps(otherwise, mask, a, b);
#else
  return choose(mask, a + b, otherwise);
#endif
}

// Whether any lane, taken as unsigned, is greater than that of `high`.
UNET_FAST_FUNCTION bool any_beyond(Indices value, Indices high) {
#if defined(__AVX512F__)
  return _mm512_cmpgt_epu32_mask(reinterpret_cast<__m512i>(value), reinterpret_cast<__m512i>(high));
#elif defined(__AVX2__)
  const auto beyond = reinterpret_cast<__m256i>(reinterpret_cast<Unsigned>(value) > reinterpret_cast<Unsigned>(high));
  return !_mm256_testz_si256(beyond, beyond);
#else
  uint32_t beyond = 0;
  for (int i = 0; i < kLanes; ++i) beyond |= static_cast<uint32_t>(value[i]) > static_cast<uint32_t>(high[i]);
  return beyond != 0;
#endif
}

// kLanes neighbours of at most 32 bits, as int32. GCC takes __builtin_convertvector apart where it widens four times.
template <class T>
UNET_FAST_FUNCTION Indices load_integers(const T* from) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 1) {
    return reinterpret_cast<Indices>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  } else if constexpr (sizeof(T) == 2) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    const bool is_signed = std::is_signed_v<T>;
    return reinterpret_cast<Indices>(is_signed ? _mm512_cvtepi16_epi32(packed) : _mm512_cvtepu16_epi32(packed));
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 1) {
    return reinterpret_cast<Indices>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  } else if constexpr (sizeof(T) == 2) {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    const bool is_signed = std::is_signed_v<T>;
    return reinterpret_cast<Indices>(is_signed ? _mm256_cvtepi16_epi32(packed) : _mm256_cvtepu16_epi32(packed));
  }
#endif
  Indices result;
  for (int i = 0; i < kLanes; ++i) result[i] = static_cast<int32_t>(from[i]);
  return result;
}

// kLanes neighbours, converted to float.
template <class T>
UNET_FAST_FUNCTION Vector load_pixels(const T* from) {
  if constexpr (std::is_floating_point_v<T>) {
    typedef T Pixels __attribute__((vector_size(kLanes * sizeof(T))));
    Pixels pixels;
    memcpy(&pixels, from, sizeof pixels);
    return __builtin_convertvector(pixels, Vector);
  } else {
    return __builtin_convertvector(load_integers(from), Vector);
  }
}

UNET_FAST_FUNCTION Vector load_pixels(const BFloat16* from) {
  return reinterpret_cast<Vector>(load_integers(reinterpret_cast<const uint16_t*>(from)) << 16);
}

UNET_FAST_FUNCTION Vector load_pixels(const Float16* from) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  Vector result;
  for (int i = 0; i < kLanes; ++i) result[i] = to_float(from[i]);
  return result;
#endif
}

// kLanes neighbours that are only moved, each in the lower bits of a lane.
template <class Bits>
UNET_FAST_FUNCTION Vector load_bits(const Bits* from) {
  return reinterpret_cast<Vector>(load_integers(from));
}

template <class Bits>
UNET_FAST_FUNCTION void store_bits(Bits* to, Vector value) {
  typedef Bits Elements __attribute__((vector_size(kLanes * sizeof(Bits))));
  const Elements elements = __builtin_convertvector(reinterpret_cast<Indices>(value), Elements);
  memcpy(to, &elements, sizeof elements);
}

// Lane i is element index[i] of the 2 kLanes in `low` and `high`.
UNET_FAST_FUNCTION Vector pick(Vector low, Vector high, Indices index) {
#if defined(__AVX512F__)
  return _mm512_permutex2var_ps(low, reinterpret_cast<__m512i>(index), high);
#elif defined(__AVX2__)
  const auto lanes = reinterpret_cast<__m256i>(index);
  const Vector of_low = _mm256_permutevar8x32_ps(low, lanes), of_high = _mm256_permutevar8x32_ps(high, lanes);
  return index < kLanes ? of_low : of_high;
#else
  Vector result;
  for (int i = 0; i < kLanes; ++i) result[i] = index[i] < kLanes ? low[index[i]] : high[index[i] - kLanes];
  return result;
#endif
}

// The next whole number below each of |value| <= 2^30.
UNET_FAST_FUNCTION Vector floor_of(Vector value) {
#if defined(__AVX512F__)
  return _mm512_roundscale_ps(value, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return _mm256_floor_ps(value);
#else
  const Vector truncated = __builtin_convertvector(__builtin_convertvector(value, Indices), Vector);
  return value < truncated ? truncated - 1.0f : truncated;
#endif
}

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
