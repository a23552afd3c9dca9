// Transforms of weights, vector by vector of outputs. In memory the taps of a channel or the channels of a tap are
// neighbours, not the outputs, so weights are first turned around.
#include "cpu/split_product.h"
#include "cpu/transpose.h"
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kSide = 3;  // taps along each axis

// to[column * to_stride + row] = from[row * from_stride + column]; rows beyond `rows` are 0 up to a whole vector.
void turn(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to, int64_t to_stride) {
  for (int64_t row = 0; row < rows; row += kLanes) {
    for (int64_t column = 0; column < columns; column += kLanes) {
      const int64_t width = smaller(kLanes, columns - column), height = smaller(kLanes, rows - row);
      const float* corner = from + row * from_stride + column;
      Vector square[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) square[i] = i < height ? load_lanes(corner + i * from_stride, width) : Vector{};
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        if (i < width) store(to + (column + i) * to_stride + row, square[i]);
      }
    }
  }
}

// [end - begin][taps][kMaxLanes] where the taps of a channel are dense and so are the channels: the memory of a
// parameter, forwards.
bool dense_channels(const WeightTaps& weight) {
  return weight.stride_x == 1 && weight.stride_y == kSide && weight.stride_c == kTaps;
}

// The same memory with outputs and channels exchanged, kernel rotated: the gradient of x.
bool dense_outputs(const WeightTaps& weight) {
  return weight.stride_x == -1 && weight.stride_y == -kSide && weight.stride_o == kTaps;
}

// out(p, value) with (G g G^T)[p] for one vector of outputs, taps kMaxLanes apart.
template <class Out>
UNET_FAST_FUNCTION void transform_taps(const float* taps, const Out& out) {
  transform_twice<transform_weight, kSide, kTileIn>(
      [&](int y, int x) { return load(taps + (y * kSide + x) * kMaxLanes); },
      [&](int y, int x, Vector value) { out(y * kTileIn + x, value); });
}

}  // namespace

void turn_weights(const WeightTaps& weight, const LaneBlock& block, int64_t begin, int64_t end, float* turned) {
  if (end > weight.channels) {
    memset(turned + (weight.channels - begin) * kTurnedChannel, 0,
           (end - weight.channels) * kTurnedChannel * sizeof(float));
    end = weight.channels;
  }
  const float* data = weight.data + (block.offset + block.first) * weight.stride_o;
  if (dense_channels(weight)) {
    turn(data + begin * kTaps, weight.stride_o, block.count, (end - begin) * kTaps, turned, kMaxLanes);
    return;
  }
  for (int64_t c = begin; c < end; ++c, turned += kTurnedChannel) {
    const float* channel = data + c * weight.stride_c;
    if (dense_outputs(weight)) {
      // From the last tap, which comes first in memory, to the first.
      turn(channel - (kTaps - 1), kTaps, block.count, kTaps, turned + (kTaps - 1) * kMaxLanes, -kMaxLanes);
      continue;
    }
    for (int tap = 0; tap < kTaps; ++tap) {
      const float* from = channel + tap / kSide * weight.stride_y + tap % kSide * weight.stride_x;
      for (int64_t lane = 0; lane < block.lanes(); ++lane) {
        turned[tap * kMaxLanes + lane] = lane < block.count ? from[lane * weight.stride_o] : 0.0f;
      }
    }
  }
}

void transform_weights(const float* turned, const LaneBlock& block, int64_t channels, float* u, int64_t plane) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t lane = 0; lane < block.lanes(); lane += kLanes) {
      float* const to = u + c * block.lanes() + lane;
      transform_taps(turned + c * kTurnedChannel + lane, [&](int p, Vector value) { store(to + p * plane, value); });
    }
  }
}

void split_weights(const float* turned, const LaneBlock& block, float* u, int64_t plane) {
  for (int64_t c = 0; c < kPanel; ++c) {
    for (int v = 0; v < block.vectors; ++v) {
      const float* const taps = turned + c * kTurnedChannel + v * kLanes;
      float* const to = u + (v * kPanel + c) * kPanel;
      const int64_t part = block.vectors * kPanel * kPanel;
      Vector first[kPoints];
      transform_taps(taps, [&](int p, Vector value) { first[p] = value; });
      transform_taps(taps + kPanel * kTurnedChannel,
                     [&](int p, Vector value) { store_parts(to + p * plane, part, first[p], value); });
    }
  }
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
                            bool add, float* grad_weight) {
  constexpr int64_t kRun = 16 * kTaps;  // taps that are turned in one go
  alignas(64) float rows[kMaxLanes][kRun];
  for (int64_t first = begin * kTaps; first < end * kTaps; first += kRun, turned += kRun * kMaxLanes) {
    const int64_t run = smaller(kRun, end * kTaps - first);
    turn(turned, kMaxLanes, run, block.count, rows[0], kRun);
    for (int64_t lane = 0; lane < block.count; ++lane) {
      float* const to = grad_weight + (block.first + lane) * channels * kTaps + first;
      if (add) {
        for (int64_t i = 0; i < run; ++i) to[i] += rows[lane][i];
      } else {
        memcpy(to, rows[lane], run * sizeof(float));
      }
    }
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
