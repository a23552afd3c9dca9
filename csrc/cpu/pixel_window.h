// A window of pixels, kWindow columns of a few rows. Where a vector of neighbours in an output row reads near together,
// the window is loaded as it lies and each place picks its pixels out of the registers, which takes half as long as
// gathering them.
#pragma once

#include <type_traits>

#include "core/mirror.h"
#include "core/warp.h"
#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

#if defined(__AVX2__)
constexpr bool kHasWindows = true;
#else
constexpr bool kHasWindows = false;  // registers cannot be permuted by index
#endif

constexpr int kWindow = 2 * kLanes;  // columns

typedef int32_t Indices __attribute__((vector_size(sizeof(Vector))));

typedef uint32_t Unsigned __attribute__((vector_size(sizeof(Vector))));

// Which lanes something holds for.
#if defined(__AVX512F__)
using Mask = __mmask16;

UNET_FAST_FUNCTION Mask equal(Indices a, Indices b) {
  return _mm512_cmpeq_epi32_mask(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b));
}
UNET_FAST_FUNCTION Mask equal(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
UNET_FAST_FUNCTION Vector choose(Mask mask, Vector yes, Vector no) { return _mm512_mask_blend_ps(mask, no, yes); }
#else
using Mask = Indices;

UNET_FAST_FUNCTION Mask equal(Indices a, Indices b) { return a == b; }
UNET_FAST_FUNCTION Mask equal(Vector a, Vector b) { return a == b; }
UNET_FAST_FUNCTION Vector choose(Mask mask, Vector yes, Vector no) { return mask ? yes : no; }
#endif

// Whether all lanes lie in [0, size).
UNET_FAST_FUNCTION bool all_within(Indices value, int32_t size) {
  const Unsigned high = Unsigned{} + static_cast<uint32_t>(size - 1);
#if defined(__AVX512F__)
  return !_mm512_cmpgt_epu32_mask(reinterpret_cast<__m512i>(value), reinterpret_cast<__m512i>(high));
#elif defined(__AVX2__)
  const auto outside = reinterpret_cast<__m256i>(reinterpret_cast<Unsigned>(value) > high);
  return _mm256_testz_si256(outside, outside);
#else
  uint32_t outside = 0;
  for (int i = 0; i < kLanes; ++i) outside |= static_cast<uint32_t>(value[i]) > high[i];
  return outside == 0;
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

// limit_coordinate of each lane.
UNET_FAST_FUNCTION Vector limit_coordinates(Vector s) {
  return lesser_of(greater_of(s, Vector{} - kFarCoordinate), Vector{} + kFarCoordinate);
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

// Where kLanes places read kTaps x kTaps pixels each.
template <int kTaps>
struct Window {
  static constexpr int kMostRows = kTaps == 2 ? 6 : 9;  // more take longer than gathers do

  Indices row;                    // of each place's first pixel, within the window
  Indices column[kTaps];          // of each place's pixels, within the window
  Vector fraction_y, fraction_x;  // the place between the inner taps
  Mask low_y, low_x;              // where the nearest pixel is the lower of the inner taps
  int64_t begin_y, begin_x;       // the window's corner in the image, the row before mirroring
  int rows;

  // Whether there is one for the places (at_y, at_x), from the crop's corner.
  UNET_FAST_METHOD bool find(Vector at_y, Vector at_x, const int64_t* origin, int64_t width) {
    constexpr int kBefore = kTaps / 2 - 1;  // taps
    constexpr int64_t kMostColumns = int64_t{1} << 29;
    const Vector floor_y = floor_of(at_y), floor_x = floor_of(at_x);
    const Indices y = __builtin_convertvector(floor_y, Indices), x = __builtin_convertvector(floor_x, Indices);
    const int32_t front_y = y[0], back_y = y[kLanes - 1], front_x = x[0], back_x = x[kLanes - 1];
    const int32_t low = front_y < back_y ? front_y : back_y, high = front_y < back_y ? back_y : front_y;
    rows = high - low + kTaps;
    if (rows > kMostRows || width < kWindow || width > kMostColumns) return false;
    const int64_t left = origin[1] + (front_x < back_x ? front_x : back_x) - kBefore;
    const int64_t right = origin[1] + (front_x < back_x ? back_x : front_x) - kBefore + kTaps;  // exclusive
    if (left <= -width || right >= 2 * width) return false;
    const int64_t last = width - kWindow;
    begin_x = left < 0 ? 0 : left > last ? last : left;
    begin_y = origin[0] + low - kBefore;
    row = y - low;
    // Seldom are the first and the last place not the outermost.
    if (!all_within(row, high - low + 1) || !place_columns(x, left < 0 || right > width, origin[1], width))
      return false;
    fraction_y = at_y - floor_y;
    fraction_x = at_x - floor_x;
    low_y = equal(floor_of(at_y + 0.5f), floor_y);
    low_x = equal(floor_of(at_x + 0.5f), floor_x);
    return true;
  }

  // The columns of the nearest pixels.
  UNET_FAST_METHOD Indices nearest_column() const {
    constexpr int kLow = kTaps / 2 - 1;
    const auto low = reinterpret_cast<Vector>(column[kLow]), high = reinterpret_cast<Vector>(column[kLow + 1]);
    return reinterpret_cast<Indices>(choose(low_x, low, high));
  }

  // visit(pixels, row): every row of `plane`, given from the window's first column on.
  template <class T, class Visit>
  UNET_FAST_METHOD void for_each_row(const T* plane, int64_t stride, int64_t height, const Visit& visit) const {
    for (int r = 0; r < rows; ++r) visit(plane + mirror_index(begin_y + r, height) * stride + begin_x, r);
    // A band of rows is worked off downwards, which the processor's own prefetchers do not follow.
    constexpr int kAhead = 2;
    if (begin_y >= 0 && begin_y + rows + kAhead < height) {
      prefetch(plane + (begin_y + rows + kAhead) * stride + begin_x, kWindow * static_cast<int64_t>(sizeof(T)));
    }
  }

 private:
  // Wraps around where a coordinate is wild, which then lies outside the window.
  UNET_FAST_METHOD bool place_columns(Indices x, bool is_mirrored, int64_t origin_x, int64_t width) {
    constexpr int kBefore = kTaps / 2 - 1;
    const auto shift = static_cast<uint32_t>(origin_x - kBefore), begin = static_cast<uint32_t>(begin_x);
    const Unsigned in_image = reinterpret_cast<Unsigned>(x) + shift;
    if (!is_mirrored) {
      const Unsigned first = in_image - begin;
      for (int k = 0; k < kTaps; ++k) column[k] = reinterpret_cast<Indices>(first + static_cast<uint32_t>(k));
      return all_within(column[0], kWindow - kTaps + 1);
    }
    const auto twice_last = static_cast<int32_t>(2 * (width - 1));
    bool within = true;
    for (int k = 0; k < kTaps; ++k) {
      const auto index = reinterpret_cast<Indices>(in_image + static_cast<uint32_t>(k));
      const Indices positive = index < 0 ? -index : index;
      const Indices reflected = positive < twice_last - positive ? positive : twice_last - positive;
      column[k] = reinterpret_cast<Indices>(reinterpret_cast<Unsigned>(reflected) - begin);
      within &= all_within(column[k], kWindow);
    }
    return within;
  }
};

template <class In>
UNET_FAST_FUNCTION Vector interpolate(const Window<2>& window, const In* plane, int64_t stride, int64_t height) {
  Vector upper = {}, lower = {};
  Mask is_lower = {};  // where the row above was the upper one
  window.for_each_row(plane, stride, height, [&](const In* row, int r) {
    const Vector low = load_pixels(row), high = load_pixels(row + kLanes);
    const Vector left = pick(low, high, window.column[0]), right = pick(low, high, window.column[1]);
    const Vector value = linear(left, right, window.fraction_x);
    const Mask is_upper = equal(window.row, Indices{} + r);
    upper = choose(is_upper, value, upper);
    lower = choose(is_lower, value, lower);
    is_lower = is_upper;
  });
  return linear(upper, lower, window.fraction_y);
}

template <class In>
UNET_FAST_FUNCTION Vector interpolate(const Window<4>& window, const In* plane, int64_t stride, int64_t height) {
  const CubicWeights<Vector> weights = cubic_weights(window.fraction_x);
  Vector rows[4] = {};
  Mask is_row[4] = {};
  window.for_each_row(plane, stride, height, [&](const In* row, int r) {
    const Vector low = load_pixels(row), high = load_pixels(row + kLanes);
    const Vector value = cubic(pick(low, high, window.column[0]), pick(low, high, window.column[1]),
                               pick(low, high, window.column[2]), pick(low, high, window.column[3]), weights);
    for (int k = 3; k > 0; --k) is_row[k] = is_row[k - 1];
    is_row[0] = equal(window.row, Indices{} + r);
    for (int k = 0; k < 4; ++k) rows[k] = choose(is_row[k], value, rows[k]);
  });
  return cubic(rows[0], rows[1], rows[2], rows[3], cubic_weights(window.fraction_y));
}

// The nearest elements, which are only moved.
template <class Bits, int kTaps>
UNET_FAST_FUNCTION Vector read_nearest(const Window<kTaps>& window, const Bits* plane, int64_t stride, int64_t height) {
  constexpr int kLow = kTaps / 2 - 1;
  const Indices column = window.nearest_column();
  const auto first = reinterpret_cast<Vector>(window.row + kLow),
             second = reinterpret_cast<Vector>(window.row + kLow + 1);
  const auto nearest_row = reinterpret_cast<Indices>(choose(window.low_y, first, second));
  Vector result = {};
  window.for_each_row(plane, stride, height, [&](const Bits* row, int r) {
    const Vector value = pick(load_bits(row), load_bits(row + kLanes), column);
    result = choose(equal(nearest_row, Indices{} + r), value, result);
  });
  return result;
}

// The windows of a block of neighbours. All get as many rows as the one that needs most: their number then seldom
// changes from block to block, and the processor foresees where the loops over them end.
template <int kTaps, int kBlock>
struct Windows {
  static constexpr int kCount = kBlock / kLanes;
  Window<kTaps> window[kCount];

  // Whether there are any for the places (at_y, at_x).
  UNET_FAST_METHOD bool find(const float* at_y, const float* at_x, const int64_t* origin, int64_t width) {
    int rows = 0;
    for (int v = 0; v < kCount; ++v) {
      const Vector y = load(at_y + v * kLanes), x = load(at_x + v * kLanes);
      if (!kHasWindows || !window[v].find(y, x, origin, width)) return false;
      rows = window[v].rows > rows ? window[v].rows : rows;
    }
    for (Window<kTaps>& each : window) each.rows = rows;
    return true;
  }
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
