// Transforms of weights, vector by vector of outputs. In memory the taps of a channel or the channels of a tap are
// neighbours, not the outputs, so weights are first turned around.
#include "cpu/split_product.h"
#include "cpu/transpose.h"
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kSide = 3;  // taps along each axis

// Outputs that are turned together, so that their part of U is whole cache lines: turned taps are [tap][kLineLanes].
constexpr int kLineLanes = kMaxLanes < 16 ? kMaxLanes : 16;

// Columns that are turned at a time. With many registers a channel is done with as soon as its taps are there:
// registers work while stores of U wait for the second-level cache, and the few lines of taps stay in the first-level
// one.
constexpr int64_t kColumns = kRegisters == 32 ? kLanes : kPanel * kTaps;

// to[column * to_stride + row] = from[row * from_stride + column] for a square of lanes; rows beyond `rows` are 0.
UNET_FAST_FUNCTION void turn_square(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to,
                                    int64_t to_stride) {
  Vector square[kLanes];
  if (rows == kLanes && columns == kLanes) {
    load_transposed(from, from_stride, square);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) square[i] = i < rows ? load_lanes(from + i * from_stride, columns) : Vector{};
    transpose(square);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i < columns) store(to + i * to_stride, square[i]);
  }
}

// The taps of a channel are dense and so are the channels: the memory of a parameter, forwards.
bool dense_channels(const WeightTaps& weight) {
  return weight.stride_x == 1 && weight.stride_y == kSide && weight.stride_c == kTaps;
}

// The same memory with outputs and channels exchanged, kernel rotated: the gradient of x.
bool dense_outputs(const WeightTaps& weight) {
  return weight.stride_x == -1 && weight.stride_y == -kSide && weight.stride_o == kTaps;
}

// to[tap * kLineLanes + lane] for a vector of `outputs` outputs; the first one's taps of the channel lie at `data`.
UNET_FAST_FUNCTION void turn_channel(const WeightTaps& weight, const float* data, int64_t outputs, float* to) {
  if (!dense_outputs(weight)) {
    for (int tap = 0; tap < kTaps; ++tap) {
      const float* from = data + tap / kSide * weight.stride_y + tap % kSide * weight.stride_x;
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        to[tap * kLineLanes + lane] = lane < outputs ? from[lane * weight.stride_o] : 0.0f;
      }
    }
    return;
  }
  // From the last tap, which comes first in memory, to the first. Channels lie far apart: those of the next panel are
  // asked for.
  const float* const from = data - (kTaps - 1);
  Vector values[kTaps];
#pragma GCC unroll 9
  for (int i = 0; i < kTaps; ++i) {
    const int64_t left = outputs * kTaps - i * kLanes;
    values[i] =
        outputs == kLanes ? load(from + i * kLanes) : load_lanes(from + i * kLanes, larger(0, smaller(kLanes, left)));
    __builtin_prefetch(from + i * kLanes + kPanel * weight.stride_c);
  }
  deinterleave(values, [&](int tap, Vector value) { store(to + (kTaps - 1 - tap) * kLineLanes, value); });
}

// function(lane) for the vectors of a block from `line` on that share cache lines of U.
template <class Function>
UNET_FAST_FUNCTION void for_line(const LaneBlock& block, int64_t line, const Function& function) {
  for (int64_t lane = line; lane < smaller(block.lanes(), line + kLineLanes); lane += kLanes) function(lane);
}

// The same as turn_channels for `count` channels of one line of outputs, which are dense; `turned` holds so many
// columns and the eight taps that an unfinished channel may have.
template <class Done>
UNET_FAST_FUNCTION void turn_dense_channels(const WeightTaps& weight, const LaneBlock& block, int64_t line,
                                            const float* data, int64_t count, float* turned, const Done& done) {
  int64_t rows = 0, c = 0;  // taps that are turned and not done with; channels that are done with
  for (int64_t begin = 0; begin < count * kTaps; begin += kColumns) {
    const int64_t columns = smaller(kColumns, count * kTaps - begin);
    for_line(block, line, [&](int64_t lane) {
      const float* const from = data + lane * weight.stride_o + begin;
      for (int64_t i = 0; i < columns; i += kLanes) {
        turn_square(from + i, weight.stride_o, smaller(kLanes, block.count - lane), smaller(kLanes, columns - i),
                    turned + (rows + i) * kLineLanes + lane - line, kLineLanes);
      }
    });
    const float* taps = turned;
    for (rows += columns; rows >= kTaps; rows -= kTaps, taps += kTaps * kLineLanes, ++c) {
      for_line(block, line, [&](int64_t lane) { done(c, lane, taps + lane - line); });
    }
    for (int64_t i = 0; i < rows * kLineLanes; i += kLanes) store(turned + i, load(taps + i));
  }
}

// done(channel, lane, taps) for 16 channels of a block from `begin` on, vector by vector; idle lanes are 0, and so are
// channels from the weight's last one on.
template <class Done>
UNET_FAST_FUNCTION void turn_channels(const WeightTaps& weight, const LaneBlock& block, int64_t begin,
                                      const Done& done) {
  alignas(64) float turned[(kTaps - 1 + kColumns) * kLineLanes];
  alignas(64) static constexpr float kZeros[kTaps * kLineLanes] = {};
  const int64_t count = larger(0, smaller(kPanel, weight.channels - begin));
  const float* const data = weight.data + (block.offset + block.first) * weight.stride_o + begin * weight.stride_c;
  for (int64_t line = 0; line < block.lanes(); line += kLineLanes) {
    if (dense_channels(weight)) {
      turn_dense_channels(weight, block, line, data, count, turned, done);
    } else {
      for (int64_t c = 0; c < count; ++c) {
        for_line(block, line, [&](int64_t lane) {
          turn_channel(weight, data + c * weight.stride_c + lane * weight.stride_o, smaller(kLanes, block.count - lane),
                       turned + lane - line);
        });
        for_line(block, line, [&](int64_t lane) { done(c, lane, turned + lane - line); });
      }
    }
    for (int64_t c = count; c < kPanel; ++c) for_line(block, line, [&](int64_t lane) { done(c, lane, kZeros); });
  }
}

// out(p, value) with (G g G^T)[p] for one vector of outputs.
template <class Out>
UNET_FAST_FUNCTION void transform_taps(const float* taps, const Out& out) {
  transform_twice<transform_weight, kSide, kTileIn>(
      [&](int y, int x) { return load(taps + (y * kSide + x) * kLineLanes); },
      [&](int y, int x, Vector value) { out(y * kTileIn + x, value); });
}

}  // namespace

void transform_weights(const WeightTaps& weight, const LaneBlock& block, int64_t begin, float* u, int64_t plane) {
  turn_channels(weight, block, begin, [&](int64_t c, int64_t lane, const float* taps) {
    float* const to = u + c * block.lanes() + lane;
    transform_taps(taps, [&](int p, Vector value) { store(to + p * plane, value); });
  });
}

void split_weights(const WeightTaps& weight, const LaneBlock& block, int64_t begin, float* u, int64_t plane) {
  constexpr int64_t kLineTaps = kTaps * kLineLanes;
  alignas(64) float first[kPanel * kMaxLanes / kLineLanes * kLineTaps];  // taps of 16 channels
  const auto place = [&](int64_t c, int64_t lane) {
    return first + (c * kMaxLanes + lane) / kLineLanes * kLineTaps + lane % kLineLanes;
  };
  turn_channels(weight, block, begin, [&](int64_t c, int64_t lane, const float* taps) {
    float* const to = place(c, lane);
    for (int64_t i = 0; i < kLineTaps; i += kLineLanes) store(to + i, load(taps + i));
  });
  turn_channels(weight, block, begin + kPanel, [&](int64_t c, int64_t lane, const float* taps) {
    float* const to = u + (lane / kLanes * kPanel + c) * kPanel;
    const int64_t part = block.vectors * kPanel * kPanel;
    Vector a[kPoints];
    transform_taps(place(c, lane), [&](int p, Vector value) { a[p] = value; });
    transform_taps(taps, [&](int p, Vector b) { store_parts(to + p * plane, part, a[p], b); });
  });
}

void transform_weight_gradients(const float* u, int64_t plane, const LaneBlock& block, int64_t channels,
                                float* turned) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t lane = 0; lane < block.lanes(); lane += kLanes) {
      const float* const from = u + c * block.lanes() + lane;
      float* const taps = turned + c * kTurnedChannel + lane;
      transform_twice<transform_weight_gradient, kTileIn, kSide>(
          [&](int y, int x) { return load(from + (y * kTileIn + x) * plane); },
          [&](int y, int x, Vector value) { store(taps + (y * kSide + x) * kMaxLanes, value); });
    }
  }
}

void write_weight_gradients(const float* turned, const LaneBlock& block, int64_t begin, int64_t end, int64_t channels,
                            Write write, float* grad_weight) {
  constexpr int64_t kRun = kPanel * kTaps;  // taps that are turned in one go
  alignas(64) float rows[kMaxLanes][kRun];
  for (int64_t first = begin * kTaps; first < end * kTaps; first += kRun, turned += kRun * kMaxLanes) {
    const int64_t run = smaller(kRun, end * kTaps - first);
    for (int64_t lane = 0; lane < block.count; lane += kLanes) {
      for (int64_t tap = 0; tap < run; tap += kLanes) {
        turn_square(turned + tap * kMaxLanes + lane, kMaxLanes, smaller(kLanes, run - tap),
                    smaller(kLanes, block.count - lane), rows[lane] + tap, kRun);
      }
    }
    for (int64_t lane = 0; lane < block.count; ++lane) {
      float* const to = grad_weight + (block.first + lane) * channels * kTaps + first;
      if (write == Write::stream) {
        for (int64_t i = 0; i < run; i += kLanes) stream(to + i, load(rows[lane] + i));
        continue;
      }
      for (int64_t i = 0; i < kRun; i += 16) __builtin_prefetch(to + kRun + i, 1);  // outputs lie far apart
      if (write == Write::add) {
        for (int64_t i = 0; i < run; ++i) to[i] += rows[lane][i];
      } else {
        memcpy(to, rows[lane], run * sizeof(float));
      }
    }
  }
  finish_streams();
}

}  // namespace unet_fast::UNET_FAST_ISA
