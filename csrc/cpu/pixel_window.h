// A window of pixels, kWindow columns of a few rows. Where a vector of neighbours in an output row reads near together,
// the window is loaded as it lies and each place picks its pixels out of the registers, which takes half as long as
// gathering them.
#pragma once

#include "core/mirror.h"
#include "core/warp.h"
#include "cpu/pixel_vector.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

#if defined(__AVX2__)
constexpr bool kHasWindows = true;
#else
constexpr bool kHasWindows = false;  // registers cannot be permuted by index
#endif

constexpr int kWindow = 2 * kLanes;  // columns

// limit_coordinate of each lane.
UNET_FAST_FUNCTION Vector limit_coordinates(Vector s) {
  return lesser_of(greater_of(s, Vector{} - kFarCoordinate), Vector{} + kFarCoordinate);
}

// Where kLanes places read kTaps x kTaps pixels each.
template <int kTaps>
struct Window {
  static constexpr int kBefore = kTaps / 2 - 1;         // taps before the place
  static constexpr int kMostRows = kTaps == 2 ? 6 : 9;  // more take longer than gathers do

  Indices row;                    // of each place's first pixel, within the window
  Indices column[kTaps];          // of each place's pixels, within the window
  Vector fraction_y, fraction_x;  // the place between the inner taps
  Mask low_y, low_x;              // where the nearest pixel is the lower of the inner taps
  int64_t begin_y, begin_x;       // the window's corner in the image, the row before mirroring

  // For the places (at_y, at_x), from the crop's corner. Returns how many rows they need, more than kMostRows where
  // there is no window for them. Seldom are the first and the last place not the outermost: whether `row` and `column`
  // lie within the window is checked for all windows of a block at once.
  UNET_FAST_METHOD int find(Vector at_y, Vector at_x, const int64_t* origin, int64_t width) {
    const Vector floor_y = floor_of(at_y), floor_x = floor_of(at_x);
    const Indices y = __builtin_convertvector(floor_y, Indices), x = __builtin_convertvector(floor_x, Indices);
    const int32_t front_y = y[0], back_y = y[kLanes - 1], front_x = x[0], back_x = x[kLanes - 1];
    const int32_t low = front_y < back_y ? front_y : back_y, high = front_y < back_y ? back_y : front_y;
    const int64_t left = origin[1] + (front_x < back_x ? front_x : back_x) - kBefore;
    const int64_t right = origin[1] + (front_x < back_x ? back_x : front_x) - kBefore + kTaps;  // exclusive
    if (high - low + kTaps > kMostRows || left <= -width || right >= 2 * width) return kMostRows + 1;
    const int64_t last = width - kWindow;
    begin_x = left < 0 ? 0 : left > last ? last : left;
    begin_y = origin[0] + low - kBefore;
    row = y - low;
    place_columns(x, left < 0 || right > width, origin[1], width);
    fraction_y = at_y - floor_y;
    fraction_x = at_x - floor_x;
    // Exactly where at + 0.5, rounded down, is still floor: the difference is exact.
    low_y = less((at_y + 0.5f) - floor_y, Vector{} + 1.0f);
    low_x = less((at_x + 0.5f) - floor_x, Vector{} + 1.0f);
    return high - low + kTaps;
  }

  // All columns in one: their number is a power of two, so that each is less than kWindow where this is.
  UNET_FAST_METHOD Indices all_columns() const {
    Indices all = column[0];
    for (int k = 1; k < kTaps; ++k) all |= column[k];
    return all;
  }

  // The columns of the nearest pixels.
  UNET_FAST_METHOD Indices nearest_column() const {
    const auto low = reinterpret_cast<Vector>(column[kBefore]), high = reinterpret_cast<Vector>(column[kBefore + 1]);
    return reinterpret_cast<Indices>(choose(low_x, low, high));
  }

 private:
  // Wraps around where a coordinate is wild, which then lies outside the window.
  UNET_FAST_METHOD void place_columns(Indices x, bool is_mirrored, int64_t origin_x, int64_t width) {
    const auto shift = static_cast<uint32_t>(origin_x - kBefore), begin = static_cast<uint32_t>(begin_x);
    if (!is_mirrored) {
      const Unsigned first = reinterpret_cast<Unsigned>(x) + (shift - begin);
      for (int k = 0; k < kTaps; ++k) column[k] = reinterpret_cast<Indices>(first + static_cast<uint32_t>(k));
      return;
    }
    const auto twice_last = static_cast<int32_t>(2 * (width - 1));
    for (int k = 0; k < kTaps; ++k) {
      const auto index = reinterpret_cast<Indices>(reinterpret_cast<Unsigned>(x) + (shift + static_cast<uint32_t>(k)));
      const Indices positive = index < 0 ? -index : index;
      const Indices reflected = positive < twice_last - positive ? positive : twice_last - positive;
      column[k] = reinterpret_cast<Indices>(reinterpret_cast<Unsigned>(reflected) - begin);
    }
  }
};

// The windows of a block of neighbours. All get as many rows as the one that needs most: their number then seldom
// changes from block to block, and the processor foresees where the loops over them end.
template <int kTaps, int kBlock>
struct Windows {
  static constexpr int kCount = kBlock / kLanes, kMostRows = Window<kTaps>::kMostRows;

  Window<kTaps> window[kCount];
  int rows;
  bool inside;  // no row of any is mirrored

  // Whether there are any for the places (at_y, at_x).
  UNET_FAST_METHOD bool find(const float* at_y, const float* at_x, const int64_t* origin, int64_t height,
                             int64_t width) {
    constexpr int64_t kMostColumns = int64_t{1} << 29;
    if (!kHasWindows || width < kWindow || width > kMostColumns) return false;
    rows = 0;
    Indices columns = {};
    for (int v = 0; v < kCount; ++v) {
      const int needed = window[v].find(load(at_y + v * kLanes), load(at_x + v * kLanes), origin, width);
      if (needed > kMostRows) return false;
      rows = needed > rows ? needed : rows;
      columns |= window[v].all_columns();
    }
    inside = true;
    bool beyond = any_beyond(columns, Indices{} + (kWindow - 1));
    for (const Window<kTaps>& each : window) {
      beyond |= any_beyond(each.row, Indices{} + (rows - kTaps));
      inside &= each.begin_y >= 0 && each.begin_y + rows <= height;
    }
    return !beyond;
  }

  // visit(pixels, row): every row of one window in `plane`, given from the window's first column on.
  template <class T, class Visit>
  UNET_FAST_METHOD void for_each_row(int v, const T* plane, int64_t stride, int64_t height, const Visit& visit) const {
    const Window<kTaps>& at = window[v];
    if (!inside) {
      for (int r = 0; r < rows; ++r) visit(plane + mirror_index(at.begin_y + r, height) * stride + at.begin_x, r);
      return;
    }
    const T* row = plane + at.begin_y * stride + at.begin_x;
#pragma GCC unroll 9
    for (int r = 0; r < kMostRows; ++r, row += stride) {
      if (r == rows) break;
      visit(row, r);
    }
    // A band of rows is worked off downwards, which the processor's own prefetchers do not follow. The windows of a
    // block lie side by side: a line of each.
    constexpr int kAhead = 2;
    if (at.begin_y + rows + kAhead < height) prefetch(row + kAhead * stride + kLanes, 1);
  }
};

template <class In, int kBlock>
UNET_FAST_FUNCTION Vector interpolate(const Windows<2, kBlock>& windows, int v, const In* plane, int64_t stride,
                                      int64_t height) {
  const Window<2>& window = windows.window[v];
  Vector upper = {}, lower = {};
  windows.for_each_row(v, plane, stride, height, [&](const In* row, int r) {
    const Vector low = load_pixels(row), high = load_pixels(row + kLanes);
    const Vector left = pick(low, high, window.column[0]), right = pick(low, high, window.column[1]);
    const Vector product = window.fraction_x * (right - left);  // linear(left, right, fraction_x) = left + product
    if (r > 0)
      lower = r == 1 ? left + product : add_where(equal(window.row, Indices{} + (r - 1)), left, product, lower);
    upper = r == 0 ? left + product : add_where(equal(window.row, Indices{} + r), left, product, upper);
  });
  return linear(upper, lower, window.fraction_y);
}

template <class In, int kBlock>
UNET_FAST_FUNCTION Vector interpolate(const Windows<4, kBlock>& windows, int v, const In* plane, int64_t stride,
                                      int64_t height) {
  const Window<4>& window = windows.window[v];
  const CubicWeights<Vector> weights = cubic_weights(window.fraction_x);
  Vector rows[4] = {};
  windows.for_each_row(v, plane, stride, height, [&](const In* row, int r) {
    const Vector low = load_pixels(row), high = load_pixels(row + kLanes);
    const Vector value = cubic(pick(low, high, window.column[0]), pick(low, high, window.column[1]),
                               pick(low, high, window.column[2]), pick(low, high, window.column[3]), weights);
    for (int k = 0; k < 4 && k <= r; ++k) {
      rows[k] = r == k ? value : choose(equal(window.row, Indices{} + (r - k)), value, rows[k]);
    }
  });
  return cubic(rows[0], rows[1], rows[2], rows[3], cubic_weights(window.fraction_y));
}

// The nearest elements, which are only moved.
template <class Bits, int kTaps, int kBlock>
UNET_FAST_FUNCTION Vector read_nearest(const Windows<kTaps, kBlock>& windows, int v, const Bits* plane, int64_t stride,
                                       int64_t height) {
  constexpr int kFirst = kTaps / 2 - 1;  // row that may hold a nearest element
  const Window<kTaps>& window = windows.window[v];
  const Indices column = window.nearest_column();
  const auto first = reinterpret_cast<Vector>(window.row + kFirst),
             second = reinterpret_cast<Vector>(window.row + (kFirst + 1));
  const auto nearest_row = reinterpret_cast<Indices>(choose(window.low_y, first, second));
  Vector result = {};
  windows.for_each_row(v, plane, stride, height, [&](const Bits* row, int r) {
    if (r < kFirst) return;
    const Vector value = pick(load_bits(row), load_bits(row + kLanes), column);
    result = r == kFirst ? value : choose(equal(nearest_row, Indices{} + r), value, result);
  });
  return result;
}

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
