// elastic_warp on the CPU: one task per band of rows of a crop, in blocks of kBlock pixels: the coordinates, then the
// pixels around them, per channel interpolated, changed in grey and stored, then the labels.
//
// Where a block lies in few rows of the image, it reads windows (cpu/pixel_window.h). Turned by more it gathers, and
// goes through short loops over arrays on the stack, which the compiler vectorises one by one (cpu/warp_taps.h).
#if defined(__AVX512F__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("tune=icelake-server")  // GCC's generic tuning refuses gathers: 1.5 times slower for float32
#endif

#include "cpu/kernels.h"

#include "core/grey.h"
#include "cpu/pixel_window.h"
#include "cpu/warp_taps.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// What a block of columns has in every row. Pixels beyond the row repeat its last one.
struct Columns {
  alignas(kLine) float at[kBlock], first[kBlock], middle[kBlock], last[kBlock];

  Columns(const ElasticWarpArgs& args, int64_t begin) {
    const float step = grid_step(args.out_width);
    const int32_t begin_x = static_cast<int32_t>(begin), last_x = static_cast<int32_t>(args.out_width - 1);
    for (int i = 0; i < kBlock; ++i) {
      at[i] = static_cast<float>(begin_x + i < last_x ? begin_x + i : last_x);
      const BSplineWeights<float> weights = bspline_weights(at[i] * step);
      first[i] = weights.first, middle[i] = weights.middle, last[i] = weights.last;
    }
  }
};

// Where the pixels of one block read, in pixels from the crop's corner.
struct Coordinates {
  alignas(kLine) float y[kBlock], x[kBlock];

  Coordinates(const Columns& columns, const WarpRow& row) {
    for (int i = 0; i < kBlock; i += kLanes) {
      const BSplineWeights<Vector> weights = {load(columns.first + i), load(columns.middle + i),
                                              load(columns.last + i)};
      const Vector at = load(columns.at + i);
      store(y + i, limit_coordinates(unlimited_coordinate(row.y, at, weights)));
      store(x + i, limit_coordinates(unlimited_coordinate(row.x, at, weights)));
    }
  }
};

// A row of a crop.
struct Row {
  int64_t b, y;  // sample and row
  WarpRow warp;

  Row() = default;
  Row(const ElasticWarpArgs& args, int64_t row) : b(row / args.out_height), y(row % args.out_height) {
    const float *affine = args.affine + 6 * b, *displacement = args.displacement + 18 * b;
    warp = warp_row(affine, displacement, static_cast<float>(y), grid_step(args.out_height));
  }
};

// A block of one row of a crop.
struct Block {
  const ElasticWarpArgs& args;
  int64_t b, y, begin;  // sample, row and first column
  int count;            // pixels of it that lie in the crop
  int64_t rows_behind;  // which the task goes down from here
  bool streams;         // whole lines past the caches
  Coordinates at;

  const int64_t* origin() const { return args.origin + 2 * b; }
};

// Values of the block, from the stack to their place in rows of `width` elements. The processor foresees no stores that
// go down a column of blocks: what is not streamed is asked for a few rows ahead.
template <class T>
UNET_FAST_FUNCTION void store_block(const Block& block, const T* __restrict values, T* __restrict out, int64_t width) {
  constexpr int kAhead = 3;
  if (block.streams && reinterpret_cast<uintptr_t>(out) % kLine == 0) {
    constexpr int64_t kFloats = kBlock * sizeof(T) / sizeof(float);
    const auto* from = reinterpret_cast<const float*>(values);
    for (int64_t i = 0; i < kFloats; i += kLanes) stream(reinterpret_cast<float*>(out) + i, load(from + i));
  } else {
    if (block.rows_behind >= kAhead) prefetch(out + kAhead * width, kBlock * static_cast<int64_t>(sizeof(T)));
    for (int i = 0; i < kBlock; ++i) out[i] = values[i];
  }
}

// `values`, then changed, is one channel of the block.
void store_channel(const Block& block, int64_t c, float* __restrict values) {
  const ElasticWarpArgs& args = block.args;
  const GreyChange grey = grey_change(args, block.b, c);
  const int64_t first_pixel = block.y * args.out_width + block.begin;
  if (grey.has_gamma()) {
    for (int i = 0; i < kBlock; ++i) values[i] = grey.curved(values[i]);
  } else {
    for (int i = 0; i < kBlock; ++i) values[i] = grey.linear(values[i]);
  }
  if (grey.has_noise()) {
    for (int i = 0; i < kBlock; ++i) values[i] = grey.add_noise(values[i], first_pixel + i);
  }
  visit_float_type(args.out_dtype, [&](auto type) {
    using Out = decltype(type);
    Out* out = static_cast<Out*>(args.out) + (block.b * args.out_height * args.out_width + first_pixel) * args.channels;
    if (args.channels > 1 || block.count < kBlock) {
      for (int i = 0; i < block.count; ++i) out[i * args.channels + c] = from_float<Out>(values[i]);
    } else if constexpr (std::is_same_v<Out, float>) {
      store_block(block, values, out, args.out_width);
    } else {
      alignas(kLine) Out rounded[kBlock];
      for (int i = 0; i < kBlock; ++i) rounded[i] = from_float<Out>(values[i]);
      store_block(block, rounded, out, args.out_width);
    }
  });
}

// `windows` are those of the block, or null where it has none.
template <class In, int kTaps, class Offset>
void warp_image(const Block& block, const Windows<kTaps, kBlock>* windows) {
  const ElasticWarpArgs& args = block.args;
  const In* image = static_cast<const In*>(args.image) + args.source[block.b] * args.image_stride_n;
  alignas(kLine) float values[kBlock];
  if (windows && args.image_stride_x == 1) {
    for (int64_t c = 0; c < args.channels; ++c) {
      const In* plane = image + c * args.image_stride_c;
      for (int v = 0; v < kBlock / kLanes; ++v) {
        store(values + v * kLanes, interpolate(*windows, v, plane, args.image_stride_y, args.height));
      }
      store_channel(block, c, values);
    }
  } else {
    const Taps<In, kTaps, Offset> taps(args, block.at.y, block.at.x, block.origin());
    for (int64_t c = 0; c < args.channels; ++c) {
      taps.interpolate(image + c * args.image_stride_c, args.image_stride_y, values);
      store_channel(block, c, values);
    }
  }
}

template <class Offset, int kTaps, class Bits>
void read_labels(const Block& block, const Windows<kTaps, kBlock>* windows, Bits* values) {
  const ElasticWarpArgs& args = block.args;
  const Bits* labels = static_cast<const Bits*>(args.labels) + args.source[block.b] * args.labels_stride_n;
  if constexpr (sizeof(Bits) <= sizeof(int32_t)) {
    if (windows && args.labels_stride_x == 1) {
      for (int v = 0; v < kBlock / kLanes; ++v) {
        store_bits(values + v * kLanes, read_nearest(*windows, v, labels, args.labels_stride_y, args.height));
      }
      return;
    }
  }
  gather_nearest<Offset>(args, labels, block.at.y, block.at.x, block.origin(), values);
}

template <class Offset, int kTaps>
void warp_labels(const Block& block, const Windows<kTaps, kBlock>* windows) {
  const ElasticWarpArgs& args = block.args;
  const int64_t margin = args.labels_margin;
  const int64_t width = args.out_width - 2 * margin, height = args.out_height - 2 * margin;
  const int64_t row = block.y - margin, column = block.begin - margin;
  const int first = static_cast<int>(column < 0 ? -column : 0);
  const int end = static_cast<int>(column + block.count > width ? width - column : block.count);
  if (row < 0 || row >= height || first >= end) return;
  visit_bits(args.labels_dtype, [&](auto type) {
    using Bits = decltype(type);
    alignas(kLine) Bits values[kBlock];
    read_labels<Offset>(block, windows, values);
    Bits* out = static_cast<Bits*>(args.out_labels) + (block.b * height + row) * width + column;
    if (end - first == kBlock) {
      store_block(block, values, out, width);
    } else {
      for (int i = first; i < end; ++i) out[i] = values[i];
    }
  });
}

constexpr int64_t kMostRows = 32;  // that one task goes down

template <class In, int kTaps, class Offset>
void warp_rows(const ElasticWarpArgs& args, bool streams, int64_t first_row, int64_t end_row) {
  Row rows[kMostRows];
  const int64_t count_rows = end_row - first_row;
  for (int64_t r = 0; r < count_rows; ++r) rows[r] = Row(args, first_row + r);
  for (int64_t begin = 0; begin < args.out_width; begin += kBlock) {
    const int count = static_cast<int>(args.out_width - begin < kBlock ? args.out_width - begin : kBlock);
    const Columns columns(args, begin);
    for (int64_t r = 0; r < count_rows; ++r) {
      const Block block = {args,  rows[r].b,          rows[r].y, begin,
                           count, count_rows - 1 - r, streams,   Coordinates(columns, rows[r].warp)};
      Windows<kTaps, kBlock> windows;
      const bool found = windows.find(block.at.y, block.at.x, block.origin(), args.height, args.width);
      warp_image<In, kTaps, Offset>(block, found ? &windows : nullptr);
      if (args.labels) warp_labels<Offset>(block, found ? &windows : nullptr);
    }
  }
  if (streams) finish_streams();
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

// Many rows of a task share what they read, few leave no thread without work.
int64_t rows_per_task(int64_t rows, int threads) {
  constexpr int64_t kLeast = 8, kTasksPerThread = 4;
  const int64_t share = rows / (kTasksPerThread * threads);
  return share < kLeast ? kLeast : share < kMostRows ? share : kMostRows;
}

template <class In, int kTaps>
void warp_all(const ElasticWarpArgs& args, const Threads& threads) {
  const auto warp = is_small(args) ? warp_rows<In, kTaps, int32_t> : warp_rows<In, kTaps, int64_t>;
  const int64_t rows = args.samples * args.out_height, together = rows_per_task(rows, threads.count);
  const int64_t pixels = rows * args.out_width;
  const int64_t bytes =
      pixels * (args.channels * size_of(args.out_dtype) + (args.labels ? size_of(args.labels_dtype) : 0));
  const bool streams = streams_pay(args.out, bytes / static_cast<int64_t>(sizeof(float)));
  parallel_tasks(threads, (rows + together - 1) / together, [&](int64_t task, int64_t) {
    const int64_t end = (task + 1) * together;
    warp(args, streams, task * together, end < rows ? end : rows);
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
