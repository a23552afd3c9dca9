// The pixels around the coordinates of a block of neighbours in an output row, kTaps x kTaps of each. They are read in
// the fastest way there is: as words (cpu/pixel_words.h), or one by one, mirrored at the image's border.
#pragma once

#include "core/mirror.h"
#include "core/warp.h"
#include "cpu/pixel_words.h"
#include "ops/elastic_warp.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kBlock = 64;  // pixels
constexpr int kLine = 64;   // bytes of a line of the caches

struct Range {
  int32_t low, high;
};

UNET_FAST_FUNCTION Range range_of(const int32_t* values) {
  Range range = {values[0], values[0]};
  for (int i = 0; i < kBlock; ++i) {
    range.low = values[i] < range.low ? values[i] : range.low;
    range.high = values[i] > range.high ? values[i] : range.high;
  }
  return range;
}

// offsets[k][i] = stride * (mirrored index of pixel origin + first[i] + k) for a block.
template <int kTaps, class Offset>
void find_offsets(const int32_t* first, const Range& range, int64_t origin, int64_t size, int64_t stride,
                  Offset (&offsets)[kTaps][kBlock]) {
  const int64_t begin = origin + range.low, end = origin + range.high + kTaps;
  const Offset shift = static_cast<Offset>(origin), step = static_cast<Offset>(stride);
  if (begin >= 0 && end <= size) {
    for (int k = 0; k < kTaps; ++k) {
      for (int i = 0; i < kBlock; ++i) offsets[k][i] = (first[i] + shift + k) * step;
    }
  } else if (begin > -size && end < 2 * size) {  // one reflection at most
    const Offset twice_last = static_cast<Offset>(2 * (size - 1));
    for (int k = 0; k < kTaps; ++k) {
      for (int i = 0; i < kBlock; ++i) {
        const Offset index = first[i] + shift + k;
        const Offset positive = index < 0 ? -index : index;
        offsets[k][i] = (positive < twice_last - positive ? positive : twice_last - positive) * step;
      }
    }
  } else {
    for (int k = 0; k < kTaps; ++k) {
      for (int i = 0; i < kBlock; ++i) {
        offsets[k][i] = static_cast<Offset>(mirror_index(origin + first[i] + k, size)) * step;
      }
    }
  }
}

template <class In, int kTaps, class Offset>
struct Taps {
  using Words = PixelWords<In, kTaps, kBlock>;

  alignas(kLine) float fraction_y[kBlock], fraction_x[kBlock];  // the place between the inner taps
  bool in_words;          // then only `corner` is filled, else `rows` and `columns`
  Offset corner[kBlock];  // the first of the pixels in the first of their rows
  Offset rows[kTaps][kBlock], columns[kTaps][kBlock];

  Taps(const ElasticWarpArgs& args, const float* at_y, const float* at_x, const int64_t* origin) {
    alignas(kLine) int32_t first_y[kBlock], first_x[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      const int32_t y = floor_to_int(at_y[i]), x = floor_to_int(at_x[i]);
      fraction_y[i] = at_y[i] - static_cast<float>(y);
      fraction_x[i] = at_x[i] - static_cast<float>(x);
      first_y[i] = y - (kTaps / 2 - 1);
      first_x[i] = x - (kTaps / 2 - 1);
    }
    const Range ys = range_of(first_y), xs = range_of(first_x);
    in_words = can_read_words(args, origin, ys, xs);
    if (in_words) {
      const auto stride = static_cast<Offset>(args.image_stride_y);
      const auto shift = static_cast<Offset>(origin[0]) * stride + static_cast<Offset>(origin[1]);
      for (int i = 0; i < kBlock; ++i) corner[i] = first_y[i] * stride + first_x[i] + shift;
    } else {
      find_offsets(first_y, ys, origin[0], args.height, args.image_stride_y, rows);
      find_offsets(first_x, xs, origin[1], args.width, args.image_stride_x, columns);
    }
  }

  void interpolate(const In* plane, int64_t row_stride, float* values) const {
    if (Words::kExist && in_words) {
      interpolate_words(plane, row_stride, values);
    } else {
      interpolate_pixels(plane, values);
    }
  }

 private:
  static bool can_read_words(const ElasticWarpArgs& args, const int64_t* origin, const Range& ys, const Range& xs) {
    if constexpr (!Words::kExist) return false;
    const int64_t last_y = origin[0] + ys.high + kTaps - 1, last_x = origin[1] + xs.high + kTaps - 1;
    const bool is_inside = origin[0] + ys.low >= 0 && origin[1] + xs.low >= 0 && last_y < args.height &&
                           last_x < args.width && args.image_stride_x == 1;
    constexpr int64_t kBehind = Words::kPixelsBehind;  // not behind the image's last pixel
    return is_inside && (kBehind == 0 || last_x + kBehind < args.width || last_y + 1 < args.height);
  }

  void interpolate_pixels(const In* plane, float* values) const {
    for (int i = 0; i < kBlock; ++i) {
      const auto pixel = [&](int row, int column) { return to_float(plane[rows[row][i] + columns[column][i]]); };
      float of_row[kTaps];
      if constexpr (kTaps == 2) {
        for (int k = 0; k < 2; ++k) of_row[k] = linear(pixel(k, 0), pixel(k, 1), fraction_x[i]);
        values[i] = linear(of_row[0], of_row[1], fraction_y[i]);
      } else {
        const CubicWeights<float> weights = cubic_weights(fraction_x[i]);
        for (int k = 0; k < 4; ++k) of_row[k] = cubic(pixel(k, 0), pixel(k, 1), pixel(k, 2), pixel(k, 3), weights);
        values[i] = cubic(of_row[0], of_row[1], of_row[2], of_row[3], cubic_weights(fraction_y[i]));
      }
    }
  }

  void interpolate_words(const In* plane, int64_t stride, float* __restrict values) const {
    Words words[kTaps];
    for (int k = 0; k < kTaps; ++k) words[k].read(plane + k * stride, corner);
    if constexpr (kTaps == 2) {
      for (int i = 0; i < kBlock; ++i) {
        const float upper = linear(words[0].template pixel<0>(i), words[0].template pixel<1>(i), fraction_x[i]);
        const float lower = linear(words[1].template pixel<0>(i), words[1].template pixel<1>(i), fraction_x[i]);
        values[i] = linear(upper, lower, fraction_y[i]);
      }
    } else {
      float of_row[4][kBlock], w0[kBlock], w1[kBlock], w2[kBlock], w3[kBlock];
      for (int i = 0; i < kBlock; ++i) {
        const CubicWeights<float> weights = cubic_weights(fraction_x[i]);
        w0[i] = weights.w0, w1[i] = weights.w1, w2[i] = weights.w2, w3[i] = weights.w3;
      }
      for (int k = 0; k < 4; ++k) {
        for (int i = 0; i < kBlock; ++i) {
          of_row[k][i] =
              cubic(words[k].template pixel<0>(i), words[k].template pixel<1>(i), words[k].template pixel<2>(i),
                    words[k].template pixel<3>(i), CubicWeights<float>{w0[i], w1[i], w2[i], w3[i]});
        }
      }
      for (int i = 0; i < kBlock; ++i) {
        values[i] = cubic(of_row[0][i], of_row[1][i], of_row[2][i], of_row[3][i], cubic_weights(fraction_y[i]));
      }
    }
  }
};

// The labels nearest to each coordinate.
template <class Offset, class Bits>
void gather_nearest(const ElasticWarpArgs& args, const Bits* labels, const float* at_y, const float* at_x,
                    const int64_t* origin, Bits* out) {
  alignas(kLine) int32_t y[kBlock], x[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    y[i] = nearest_to_int(at_y[i]);
    x[i] = nearest_to_int(at_x[i]);
  }
  Offset rows[1][kBlock], columns[1][kBlock];
  find_offsets(y, range_of(y), origin[0], args.height, args.labels_stride_y, rows);
  find_offsets(x, range_of(x), origin[1], args.width, args.labels_stride_x, columns);
  for (int i = 0; i < kBlock; ++i) out[i] = labels[rows[0][i] + columns[0][i]];
}

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
