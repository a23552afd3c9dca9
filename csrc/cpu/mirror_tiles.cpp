// mirror_tiles on the CPU: one task per band of rows of the tiles. A row of a tile is a few runs of the image's row it
// mirrors to, read forwards inside the image and backwards beyond its border.
#include "cpu/kernels.h"

#include "core/mirror.h"
#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// Values that lie one behind the other in memory, put together on the stack and streamed past the caches as whole
// lines. What is left of a line waits for the row behind: a store into half a line would wait for the other half to be
// read.
template <class Out>
class LineStream {
 public:
  static constexpr int64_t kMost = 8192;  // values, that are appended at once

  explicit LineStream(Out* to) : ahead_(static_cast<int64_t>(reinterpret_cast<uintptr_t>(to) % kLine)), held_(ahead_) {
    line_ = reinterpret_cast<char*>(to) - ahead_;
  }

  Out* end() { return reinterpret_cast<Out*>(staged_ + held_); }

  // `values` were written to end().
  void append(int64_t values) {
    held_ += values * static_cast<int64_t>(sizeof(Out));
    const int64_t whole = held_ / kLine * kLine;
    if (whole == 0) return;
    int64_t i = 0;
    if (ahead_ > 0) {
      memcpy(line_ + ahead_, staged_ + ahead_, static_cast<size_t>(kLine - ahead_));
      ahead_ = 0, i = kLine;
    }
    for (; i < whole; i += static_cast<int64_t>(sizeof(Vector))) {
      stream(reinterpret_cast<float*>(line_ + i), load(reinterpret_cast<const float*>(staged_ + i)));
    }
    held_ -= whole, line_ += whole;
    memcpy(staged_, staged_ + whole, static_cast<size_t>(held_));
  }

  void finish() {
    memcpy(line_ + ahead_, staged_ + ahead_, static_cast<size_t>(held_ - ahead_));
    finish_streams();
  }

 private:
  static constexpr int64_t kLine = 64;  // bytes

  alignas(kLine) char staged_[kLine + kMost * static_cast<int64_t>(sizeof(Out))];
  char* line_;     // where staged_ begins
  int64_t ahead_;  // bytes in front that belong to somebody else
  int64_t held_;   // bytes, those included
};

template <class In, class Out, int kChannels>  // kChannels: C, or 0 for any other
struct RowWriter {
  const MirrorTilesArgs& args;

  int64_t row_values() const { return args.tile_width * args.channels; }

  // Row `row` of all tiles' rows, one tile after the other.
  void write(int64_t row, Out* out) const {
    const int64_t tile = row / args.tile_height, y = row % args.tile_height;
    const int64_t image_y = mirror_index(args.origins[2 * tile] + y, args.height);
    write_row(static_cast<const In*>(args.image) + image_y * args.image_stride_y, args.origins[2 * tile + 1], out);
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
};

template <class In, class Out, int kChannels>
void write_tiles(const MirrorTilesArgs& args, const Threads& threads) {
  constexpr int64_t kRowsPerTask = 32;
  const RowWriter<In, Out, kChannels> rows{args};
  const int64_t count = args.tiles * args.tile_height, values = rows.row_values();
  const bool streams =
      values <= LineStream<Out>::kMost && streams_pay(args.out, count * values * size_of(args.out_dtype) / 4);
  parallel_tasks(threads, (count + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int64_t) {
    const int64_t begin = task * kRowsPerTask, end = begin + kRowsPerTask < count ? begin + kRowsPerTask : count;
    Out* const out = static_cast<Out*>(args.out) + begin * values;
    if (streams) {
      LineStream<Out> lines(out);
      for (int64_t row = begin; row < end; ++row) {
        rows.write(row, lines.end());
        lines.append(values);
      }
      lines.finish();
    } else {
      for (int64_t row = begin; row < end; ++row) rows.write(row, out + (row - begin) * values);
    }
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
