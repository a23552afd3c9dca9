// elastic_warp on the CPU: one task per band of rows of a crop, in blocks of kBlock pixels. Each block goes through
// short loops over arrays on the stack, which the compiler vectorises one by one:
//     coordinates -> offsets of the pixels around them, mirrored -> per channel: read, interpolate, change grey, store.
// Reading is what takes the time. Where a block lies inside the image and its rows are dense, neighbours in a row are
// read together, as the words of cpu/pixel_words.h.
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("tune=icelake-server")  // GCC's generic tuning refuses gathers: 1.5 times slower for float32
#endif

#include "cpu/kernels.h"

#include "core/grey.h"
#include "core/mirror.h"
#include "core/warp.h"
#include "cpu/pixel_words.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kBlock = 64;

// What a block of columns has in every row. Pixels beyond the row repeat its last one.
struct Columns {
  float at[kBlock], first[kBlock], middle[kBlock], last[kBlock];

  Columns(const ElasticWarpArgs& args, int64_t begin) {
    const float step = grid_step(args.out_width);
    const int32_t begin_x = static_cast<int32_t>(begin), last_x = static_cast<int32_t>(args.out_width - 1);
    for (int i = 0; i < kBlock; ++i) {
      at[i] = static_cast<float>(begin_x + i < last_x ? begin_x + i : last_x);
      const BSplineWeights weights = bspline_weights(at[i] * step);
      first[i] = weights.first, middle[i] = weights.middle, last[i] = weights.last;
    }
  }
};

// Where the pixels of one block read, in pixels from the crop's corner.
struct Coordinates {
  float y[kBlock], x[kBlock];

  Coordinates(const Columns& columns, const WarpRow& row) {
    for (int i = 0; i < kBlock; ++i) {
      const BSplineWeights weights = {columns.first[i], columns.middle[i], columns.last[i]};
      y[i] = warp_coordinate(row.y, columns.at[i], weights);
      x[i] = warp_coordinate(row.x, columns.at[i], weights);
    }
  }
};

struct Range {
  int32_t low, high;
};

Range range_of(const int32_t* values) {
  Range range = {values[0], values[0]};
  for (int i = 0; i < kBlock; ++i) {
    range.low = values[i] < range.low ? values[i] : range.low;
    range.high = values[i] > range.high ? values[i] : range.high;
  }
  return range;
}

// offsets[k][i] = stride * (mirrored index of pixel origin + first[i] + k).
template <int kTaps, class Offset>
void find_taps(const int32_t* first, const Range& range, int64_t origin, int64_t size, int64_t stride,
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

// The pixels around each coordinate of a block, kTaps x kTaps of them, and the place between the inner four.
template <class In, int kTaps, class Offset>
struct Taps {
  float fraction_y[kBlock], fraction_x[kBlock];
  int64_t row_stride;     // elements
  bool in_words;          // then only `corner` is filled, else `rows` and `columns`
  Offset corner[kBlock];  // the first of the pixels in the first of their rows
  Offset rows[kTaps][kBlock], columns[kTaps][kBlock];

  Taps(const ElasticWarpArgs& args, const Coordinates& at, const int64_t* origin) : row_stride(args.image_stride_y) {
    int32_t first_y[kBlock], first_x[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      const int32_t y = floor_to_int(at.y[i]), x = floor_to_int(at.x[i]);
      fraction_y[i] = at.y[i] - static_cast<float>(y);
      fraction_x[i] = at.x[i] - static_cast<float>(x);
      first_y[i] = y - (kTaps / 2 - 1);
      first_x[i] = x - (kTaps / 2 - 1);
    }
    const Range ys = range_of(first_y), xs = range_of(first_x);
    in_words = can_read_words(args, origin, ys, xs);
    if (in_words) {
      const auto stride = static_cast<Offset>(row_stride);
      const auto shift = static_cast<Offset>(origin[0]) * stride + static_cast<Offset>(origin[1]);
      for (int i = 0; i < kBlock; ++i) corner[i] = first_y[i] * stride + first_x[i] + shift;
    } else {
      find_taps(first_y, ys, origin[0], args.height, args.image_stride_y, rows);
      find_taps(first_x, xs, origin[1], args.width, args.image_stride_x, columns);
    }
  }

  static bool can_read_words(const ElasticWarpArgs& args, const int64_t* origin, const Range& ys, const Range& xs) {
    if constexpr (!PixelWords<In, kTaps, kBlock>::kExist) return false;
    const int64_t last_y = origin[0] + ys.high + kTaps - 1, last_x = origin[1] + xs.high + kTaps - 1;
    const bool is_inside = origin[0] + ys.low >= 0 && origin[1] + xs.low >= 0 && last_y < args.height &&
                           last_x < args.width && args.image_stride_x == 1;
    constexpr int64_t kBehind = PixelWords<In, kTaps, kBlock>::kPixelsBehind;  // not behind the image's last pixel
    return is_inside && (kBehind == 0 || last_x + kBehind < args.width || last_y + 1 < args.height);
  }
};

template <class In, class Offset>
void interpolate(const In* plane, const Taps<In, 2, Offset>& taps, float* values) {
  for (int i = 0; i < kBlock; ++i) {
    const float a = to_float(plane[taps.rows[0][i] + taps.columns[0][i]]);
    const float b = to_float(plane[taps.rows[0][i] + taps.columns[1][i]]);
    const float c = to_float(plane[taps.rows[1][i] + taps.columns[0][i]]);
    const float d = to_float(plane[taps.rows[1][i] + taps.columns[1][i]]);
    values[i] = linear(linear(a, b, taps.fraction_x[i]), linear(c, d, taps.fraction_x[i]), taps.fraction_y[i]);
  }
}

template <class In, class Offset>
void interpolate(const In* plane, const Taps<In, 4, Offset>& taps, float* values) {
  for (int i = 0; i < kBlock; ++i) {
    const CubicWeights weights = cubic_weights(taps.fraction_x[i]);
    float rows[4];
    for (int k = 0; k < 4; ++k) {
      const In* row = plane + taps.rows[k][i];
      rows[k] = cubic(to_float(row[taps.columns[0][i]]), to_float(row[taps.columns[1][i]]),
                      to_float(row[taps.columns[2][i]]), to_float(row[taps.columns[3][i]]), weights);
    }
    values[i] = cubic(rows[0], rows[1], rows[2], rows[3], cubic_weights(taps.fraction_y[i]));
  }
}

template <class In, int kTaps, class Offset>
void interpolate_words(const In* plane, const Taps<In, kTaps, Offset>& taps, float* __restrict values) {
  PixelWords<In, kTaps, kBlock> rows[kTaps];
  for (int k = 0; k < kTaps; ++k) rows[k].read(plane + k * taps.row_stride, taps.corner);
  if constexpr (kTaps == 2) {
    for (int i = 0; i < kBlock; ++i) {
      const float upper = linear(rows[0].template pixel<0>(i), rows[0].template pixel<1>(i), taps.fraction_x[i]);
      const float lower = linear(rows[1].template pixel<0>(i), rows[1].template pixel<1>(i), taps.fraction_x[i]);
      values[i] = linear(upper, lower, taps.fraction_y[i]);
    }
  } else {
    float of_row[4][kBlock], w0[kBlock], w1[kBlock], w2[kBlock], w3[kBlock];
    for (int i = 0; i < kBlock; ++i) {
      const CubicWeights weights = cubic_weights(taps.fraction_x[i]);
      w0[i] = weights.w0, w1[i] = weights.w1, w2[i] = weights.w2, w3[i] = weights.w3;
    }
    for (int k = 0; k < 4; ++k) {
      for (int i = 0; i < kBlock; ++i) {
        of_row[k][i] = cubic(rows[k].template pixel<0>(i), rows[k].template pixel<1>(i), rows[k].template pixel<2>(i),
                             rows[k].template pixel<3>(i), {w0[i], w1[i], w2[i], w3[i]});
      }
    }
    for (int i = 0; i < kBlock; ++i) {
      values[i] = cubic(of_row[0][i], of_row[1][i], of_row[2][i], of_row[3][i], cubic_weights(taps.fraction_y[i]));
    }
  }
}

void change_grey(const GreyChange& grey, int64_t first_pixel, float* __restrict values) {
  if (grey.has_gamma()) {
    for (int i = 0; i < kBlock; ++i) values[i] = grey.curved(values[i]);
  } else {
    for (int i = 0; i < kBlock; ++i) values[i] = grey.linear(values[i]);
  }
  if (!grey.has_noise()) return;
  for (int i = 0; i < kBlock; ++i) values[i] = grey.add_noise(values[i], first_pixel + i);
}

// `count` pixels from pixel `first_pixel` of sample b on.
template <class In, int kTaps, class Offset>
void warp_image(const ElasticWarpArgs& args, const Coordinates& at, int64_t b, int64_t first_pixel, int count) {
  const Taps<In, kTaps, Offset> taps(args, at, args.origin + 2 * b);
  const In* image = static_cast<const In*>(args.image) + args.source[b] * args.image_stride_n;
  const int64_t out_begin = (b * args.out_height * args.out_width + first_pixel) * args.channels;
  for (int64_t c = 0; c < args.channels; ++c) {
    float values[kBlock];
    const In* plane = image + c * args.image_stride_c;
    if constexpr (PixelWords<In, kTaps, kBlock>::kExist) {
      taps.in_words ? interpolate_words(plane, taps, values) : interpolate(plane, taps, values);
    } else {
      interpolate(plane, taps, values);
    }
    change_grey(grey_change(args, b, c), first_pixel, values);
    visit_float_type(args.out_dtype, [&](auto type) {
      using Out = decltype(type);
      Out* out = static_cast<Out*>(args.out) + out_begin + c;
      if (args.channels == 1) {
        for (int i = 0; i < count; ++i) out[i] = from_float<Out>(values[i]);
      } else {
        for (int i = 0; i < count; ++i) out[i * args.channels] = from_float<Out>(values[i]);
      }
    });
  }
}

template <class Offset>
void warp_labels(const ElasticWarpArgs& args, const Coordinates& at, int64_t b, int64_t y, int64_t begin, int count) {
  const int64_t margin = args.labels_margin;
  const int64_t width = args.out_width - 2 * margin, height = args.out_height - 2 * margin;
  const int first = static_cast<int>(begin < margin ? margin - begin : 0);
  const int end = static_cast<int>(begin + count > margin + width ? margin + width - begin : count);
  if (y < margin || y >= margin + height || first >= end) return;
  int32_t nearest_y[kBlock], nearest_x[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    nearest_y[i] = nearest_to_int(at.y[i]);
    nearest_x[i] = nearest_to_int(at.x[i]);
  }
  const Range ys = range_of(nearest_y), xs = range_of(nearest_x);
  const int64_t origin_y = args.origin[2 * b], origin_x = args.origin[2 * b + 1];
  Offset offsets[kBlock];
  if (origin_y + ys.low >= 0 && origin_y + ys.high < args.height && origin_x + xs.low >= 0 &&
      origin_x + xs.high < args.width) {
    const auto stride_y = static_cast<Offset>(args.labels_stride_y),
               stride_x = static_cast<Offset>(args.labels_stride_x);
    const auto shift = static_cast<Offset>(origin_y) * stride_y + static_cast<Offset>(origin_x) * stride_x;
    for (int i = 0; i < kBlock; ++i) offsets[i] = nearest_y[i] * stride_y + nearest_x[i] * stride_x + shift;
  } else {
    Offset rows[1][kBlock], columns[1][kBlock];
    find_taps(nearest_y, ys, origin_y, args.height, args.labels_stride_y, rows);
    find_taps(nearest_x, xs, origin_x, args.width, args.labels_stride_x, columns);
    for (int i = 0; i < kBlock; ++i) offsets[i] = rows[0][i] + columns[0][i];
  }
  visit_bits(args.labels_dtype, [&](auto bits) {
    using Bits = decltype(bits);
    const Bits* labels = static_cast<const Bits*>(args.labels) + args.source[b] * args.labels_stride_n;
    Bits* out = static_cast<Bits*>(args.out_labels) + (b * height + y - margin) * width + begin - margin;
    for (int i = first; i < end; ++i) out[i] = labels[offsets[i]];
  });
}

template <class In, int kTaps, class Offset>
void warp_rows(const ElasticWarpArgs& args, int64_t first_row, int64_t end_row) {
  const float step = grid_step(args.out_height);
  for (int64_t begin = 0; begin < args.out_width; begin += kBlock) {
    const int count = static_cast<int>(args.out_width - begin < kBlock ? args.out_width - begin : kBlock);
    const Columns columns(args, begin);
    for (int64_t row = first_row; row < end_row; ++row) {
      const int64_t b = row / args.out_height, y = row % args.out_height;
      const float* const affine = args.affine + 6 * b;
      const Coordinates at(columns, warp_row(affine, args.displacement + 18 * b, static_cast<float>(y), step));
      warp_image<In, kTaps, Offset>(args, at, b, y * args.out_width + begin, count);
      if (args.labels) warp_labels<Offset>(args, at, b, y, begin, count);
    }
  }
}

// Whether all offsets within one plane, and the indices before mirroring, fit into int32.
bool is_small(const ElasticWarpArgs& args) {
  constexpr int64_t kMost = int64_t{1} << 29;
  const auto fits = [&](int64_t stride_y, int64_t stride_x) {
    return stride_y < kMost && stride_x < kMost &&
           (args.height - 1) * stride_y + (args.width - 1) * stride_x < (int64_t{1} << 31);
  };
  return args.height < kMost && args.width < kMost && fits(args.image_stride_y, args.image_stride_x) &&
         (!args.labels || fits(args.labels_stride_y, args.labels_stride_x));
}

template <class In, int kTaps>
void warp_all(const ElasticWarpArgs& args, const Threads& threads) {
  constexpr int64_t kRowsPerTask = 8;
  const auto rows = is_small(args) ? warp_rows<In, kTaps, int32_t> : warp_rows<In, kTaps, int64_t>;
  const int64_t all = args.samples * args.out_height;
  parallel_tasks(threads, (all + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int64_t) {
    const int64_t end = (task + 1) * kRowsPerTask;
    rows(args, task * kRowsPerTask, end < all ? end : all);
  });
}

}  // namespace

void elastic_warp(const ElasticWarpArgs& args, const Threads& threads) {
  visit_image_type(args.image_dtype, [&](auto in) {
    if (args.cubic) {
      warp_all<decltype(in), 4>(args, threads);
    } else {
      warp_all<decltype(in), 2>(args, threads);
    }
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
