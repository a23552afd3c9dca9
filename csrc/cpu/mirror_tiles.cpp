// mirror_tiles on the CPU: one task per band of rows of the tiles. A row of a tile is a few runs of the image's row it
// mirrors to, read forwards inside the image and backwards beyond its border.
#include "cpu/kernels.h"

#include "core/mirror.h"
#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

template <class In, class Out, int kChannels>  // kChannels: C, or 0 for any other
struct RowWriter {
  static constexpr int64_t kStaged = 8192;  // values of a row, at most, that are put together before they are streamed

  const MirrorTilesArgs& args;
  const bool streams;

  explicit RowWriter(const MirrorTilesArgs& args)
      : args(args),
        streams(row_values() <= kStaged &&
                streams_pay(args.out, args.tiles * args.tile_height * row_values() * size_of(args.out_dtype) / 4)) {}

  int64_t row_values() const { return args.tile_width * args.channels; }

  void operator()(int64_t tile, int64_t y) const {
    const int64_t image_y = mirror_index(args.origins[2 * tile] + y, args.height);
    const In* row = static_cast<const In*>(args.image) + image_y * args.image_stride_y;
    Out* out = static_cast<Out*>(args.out) + (tile * args.tile_height + y) * row_values();
    if (!streams) {
      write_row(row, args.origins[2 * tile + 1], out);
      return;
    }
    Out staged[kStaged];
    write_row(row, args.origins[2 * tile + 1], staged);
    stream_row(staged, out, row_values() * static_cast<int64_t>(sizeof(Out)));
  }

  // From `origin_x` on, which may lie outside the image.
  void write_row(const In* row, int64_t origin_x, Out* out) const {
    const int64_t last = args.width - 1, period = last > 0 ? 2 * last : 1;
    const int64_t rest = origin_x % period, phase = rest < 0 ? rest + period : rest;
    bool forwards = phase < last;
    int64_t image_x = forwards ? phase : last > 0 ? period - phase : 0;
    for (int64_t x = 0; x < args.tile_width; forwards = !forwards) {
      const int64_t left = args.tile_width - x, to_turn = forwards ? last - image_x : image_x;
      const int64_t count = last == 0 || left < to_turn ? left : to_turn;
      write_run(row + image_x * args.image_stride_x, last == 0 ? 0 : forwards ? 1 : -1, count, out + x * args.channels);
      image_x += forwards ? count : -count;
      x += count;
    }
  }

  // `count` pixels in the direction `step`.
  void write_run(const In* from, int64_t step, int64_t count, Out* out) const {
    step *= args.image_stride_x;
    if (step == 1) {
      convert(from, [](int64_t i) { return i; }, count, out);
    } else if (step == -1) {
      convert(from, [](int64_t i) { return -i; }, count, out);
    } else {
      convert(from, [step](int64_t i) { return step * i; }, count, out);
    }
  }

  template <class At>
  UNET_FAST_METHOD void convert(const In* __restrict from, const At& at, int64_t count, Out* __restrict out) const {
    const auto channel = [&](int64_t c, int64_t channels) {
      const float scale = args.scale ? args.scale[c] : 1.0f, offset = args.offset ? args.offset[c] : 0.0f;
      const In* __restrict plane = from + c * args.image_stride_c;
      for (int64_t i = 0; i < count; ++i)
        out[i * channels + c] = from_float<Out>(scale * to_float(plane[at(i)]) + offset);
    };
    if constexpr (kChannels == 1) {
      channel(0, 1);
    } else if constexpr (kChannels == 3) {  // one loop, so that whole vectors are written
      float scale[3], offset[3];
      for (int c = 0; c < 3; ++c) {
        scale[c] = args.scale ? args.scale[c] : 1.0f, offset[c] = args.offset ? args.offset[c] : 0.0f;
      }
      const In *red = from, *green = red + args.image_stride_c, *blue = green + args.image_stride_c;
      for (int64_t i = 0; i < count; ++i) {
        out[3 * i] = from_float<Out>(scale[0] * to_float(red[at(i)]) + offset[0]);
        out[3 * i + 1] = from_float<Out>(scale[1] * to_float(green[at(i)]) + offset[1]);
        out[3 * i + 2] = from_float<Out>(scale[2] * to_float(blue[at(i)]) + offset[2]);
      }
    } else {
      for (int64_t c = 0; c < args.channels; ++c) channel(c, args.channels);
    }
  }

  // Whole lines of the cache past the caches, the ends of the row through them: their lines are shared with the rows
  // before and behind.
  static void stream_row(const Out* from, Out* out, int64_t bytes) {
    constexpr int64_t kLine = 64;
    const char* source = reinterpret_cast<const char*>(from);
    char* target = reinterpret_cast<char*>(out);
    const int64_t to_line = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(target) % kLine);
    const int64_t head = to_line < bytes ? to_line : bytes, lines = (bytes - head) / kLine * kLine;
    memcpy(target, source, static_cast<size_t>(head));
    for (int64_t i = head; i < head + lines; i += static_cast<int64_t>(sizeof(Vector))) {
      stream(reinterpret_cast<float*>(target + i), load(reinterpret_cast<const float*>(source + i)));
    }
    memcpy(target + head + lines, source + head + lines, static_cast<size_t>(bytes - head - lines));
  }
};

template <class In, class Out, int kChannels>
void write_tiles(const MirrorTilesArgs& args, const Threads& threads) {
  constexpr int64_t kRowsPerTask = 16;
  const RowWriter<In, Out, kChannels> write_row(args);
  const int64_t rows = args.tiles * args.tile_height;
  parallel_tasks(threads, (rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int64_t) {
    const int64_t begin = task * kRowsPerTask, end = begin + kRowsPerTask < rows ? begin + kRowsPerTask : rows;
    for (int64_t row = begin; row < end; ++row) write_row(row / args.tile_height, row % args.tile_height);
    if (write_row.streams) finish_streams();
  });
}

}  // namespace

void mirror_tiles(const MirrorTilesArgs& args, const Threads& threads) {
  visit_image_type(args.image_dtype, [&](auto in) {
    visit_float_type(args.out_dtype, [&](auto out) {
      using In = decltype(in);
      using Out = decltype(out);
      switch (args.channels) {
        case 1: write_tiles<In, Out, 1>(args, threads); break;
        case 3: write_tiles<In, Out, 3>(args, threads); break;
        default: write_tiles<In, Out, 0>(args, threads); break;
      }
    });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
