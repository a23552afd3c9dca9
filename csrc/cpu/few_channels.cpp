// The forward pass of the first layer. For every pixel and vector of outputs, 9 taps (ky, kx) of C steps, a broadcast
// value times a vector of weights:
//
//   y[x][o] = bias[o] + sum over taps and c of  in[x * C + tap_offset[tap] + c] * weight[tap][c][o]
//
// The weights are packed as they are read, [blocks of outputs][tap][c][lanes of the block], zeros in idle lanes.
// The offsets are read from a table, so that a compiler sees no value twice and spends no registers on keeping it.
#include "cpu/few_channels.h"

#include "cpu/row_blocks.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kTaps = 9;
// Three quarters of the registers are sums: what is left holds the weights of a step.
constexpr int kSums = kRegisters * 3 / 4;
constexpr int kWidest = kRegisters == 32 ? 4 : 2;  // vectors of a block
constexpr int kTaskRows = 8;
constexpr int64_t kLineFloats = 16, kLeastStream = 32;  // a line's floats; bytes of a vector that can be streamed

constexpr int block_pixels(int vectors) { return kSums / vectors < 12 ? kSums / vectors : 12; }

struct Layer {
  int64_t height, width;     // pixels of y
  int64_t in_row, out_row;   // floats
  int64_t outputs, vectors;  // of a pixel
  float floor;               // y = max(sum, floor): 0 or minus infinity
  bool streams;              // y goes past the caches
  const float* weights;
  const float* bias;          // lane by lane, zeros in idle lanes
  int64_t tap_offset[kTaps];  // floats from the pixel under the upper left tap
};

UNET_FAST_FUNCTION int64_t weights_floats(const ConvReluArgs& args) {
  return divide_up(args.out_channels, kLanes) * kLanes * kTaps * args.in_channels;
}

Layer make_layer(const ConvReluArgs& args, const float* workspace) {
  const int64_t height = args.height - 2, width = args.width - 2, out_row = width * args.out_channels;
  Layer layer = {
      .height = height,
      .width = width,
      .in_row = args.width * args.in_channels,
      .out_row = out_row,
      .outputs = args.out_channels,
      .vectors = divide_up(args.out_channels, kLanes),
      .floor = args.relu ? 0 : -__builtin_inff(),
      .streams = args.out_channels % kLineFloats == 0 &&
                 streams_pay(args.y, args.images * height * out_row, sizeof(Vector) >= kLeastStream),
      .weights = workspace,
      .bias = workspace + weights_floats(args),
      .tap_offset = {},
  };
  for (int tap = 0; tap < kTaps; ++tap) {
    layer.tap_offset[tap] = tap / 3 * layer.in_row + tap % 3 * args.in_channels;
  }
  return layer;
}

void pack(const ConvReluArgs& args, float* weights, float* bias) {
  const float* weight = static_cast<const float*>(args.weight);
  const int64_t vectors = divide_up(args.out_channels, kLanes);
  const Pieces blocks(vectors, kWidest);
  memset(weights, 0, weights_floats(args) * sizeof(float));
  memset(bias, 0, vectors * kLanes * sizeof(float));
  for (int64_t block = 0; block < blocks.pieces; ++block) {
    const int64_t first = blocks.begin(block) * kLanes, end = blocks.begin(block + 1) * kLanes;
    for (int64_t tap = 0; tap < kTaps; ++tap) {
      for (int64_t c = 0; c < args.in_channels; ++c, weights += end - first) {
        const float* from =
            weight + tap / 3 * args.weight_stride_y + tap % 3 * args.weight_stride_x + c * args.weight_stride_c;
        for (int64_t o = first; o < smaller(end, args.out_channels); ++o) {
          weights[o - first] = from[o * args.weight_stride_o];
        }
      }
    }
  }
  if (args.bias) memcpy(bias, args.bias, args.out_channels * sizeof(float));
}

// NaN stays NaN, as in rectify.
template <int kVectors, int kPixels>
UNET_FAST_FUNCTION void write_block(const Layer& layer, int64_t first, const Vector (&sum)[kPixels][kVectors],
                                    float* out) {
  const Vector floor = layer.floor - Vector{};
  const int64_t pixel = layer.outputs, idle = layer.vectors * kLanes - layer.outputs;
  const auto write = [&](auto last_store, auto other_store) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < kPixels; ++i, out += pixel) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Vector result = sum[i][v] < floor ? floor : sum[i][v];
        v == kVectors - 1 ? last_store(out + v * kLanes, result) : other_store(out + v * kLanes, result);
      }
    }
  };
  if (layer.streams) {
    write(stream, stream);
  } else if (idle && first + kVectors == layer.vectors) {
    write([=](float* to, Vector value) { store_lanes(to, value, kLanes - idle); }, store);
  } else {
    write(store, store);
  }
}

// Pixels side by side, for a block of vectors that begins at vector `first`.
template <int kChannels, int kVectors, int kPixels>
void run_block(const Layer& layer, int64_t first, const float* in, float* out) {
  const float* weights = layer.weights + first * kLanes * kTaps * kChannels;
  Vector sum[kPixels][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kPixels; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = load(layer.bias + (first + v) * kLanes);
  }
  for (int tap = 0; tap < kTaps; ++tap) {
    const float* values = in + layer.tap_offset[tap];
#pragma GCC unroll 4
    for (int c = 0; c < kChannels; ++c, weights += kVectors * kLanes) {
      Vector factor[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) factor[v] = load(weights + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kPixels; ++i) {
        const Vector value = broadcast<1>(values + i * kChannels + c);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] += value * factor[v];
      }
    }
  }
  write_block(layer, first, sum, out + first * kLanes);
}

template <int kChannels, int kVectors>
void run_pixels(const Layer& layer, int64_t first, const float* in, int64_t pixels, float* out) {
  constexpr int kPixels = block_pixels(kVectors);
  for (; pixels >= kPixels; pixels -= kPixels, in += kPixels * kChannels, out += kPixels * layer.outputs) {
    run_block<kChannels, kVectors, kPixels>(layer, first, in, out);
  }
  for (; pixels > 0; --pixels, in += kChannels, out += layer.outputs) {
    run_block<kChannels, kVectors, 1>(layer, first, in, out);
  }
}

using RunPixels = void (*)(const Layer& layer, int64_t first, const float* in, int64_t pixels, float* out);

template <int kChannels, int kVectors = kWidest>
RunPixels select(int64_t vectors) {
  if (vectors == kVectors) return run_pixels<kChannels, kVectors>;
  if constexpr (kVectors > 1) return select<kChannels, kVectors - 1>(vectors);
  return nullptr;
}

// Every block of outputs passes over a strip before the next strip, so that the strip's part of y is in the first-level
// cache until its lines are whole.
template <int kChannels>
void run_row(const Layer& layer, const float* in, float* out) {
  constexpr int64_t kStrip = 48;  // pixels, a multiple of every block_pixels
  const Pieces blocks(layer.vectors, kWidest);
  for (int64_t x = 0; x < layer.width; x += kStrip) {
    for (int64_t block = 0; block < blocks.pieces; ++block) {
      const int64_t first = blocks.begin(block);
      select<kChannels>(blocks.begin(block + 1) - first)(layer, first, in + x * kChannels,
                                                         smaller(kStrip, layer.width - x), out + x * layer.outputs);
    }
  }
}

void run_row(const Layer& layer, int64_t channels, const float* in, float* out) {
  switch (channels) {
    case 1: return run_row<1>(layer, in, out);
    case 2: return run_row<2>(layer, in, out);
    case 3: return run_row<3>(layer, in, out);
    case 4: return run_row<4>(layer, in, out);
  }
}

}  // namespace

bool takes_few_channels(const ConvReluArgs& args) {
  return args.dtype == DType::float32 && args.in_channels <= 4 && args.padding == 0 && !args.gate;
}

int64_t few_channels_workspace(const ConvReluArgs& args) {
  return weights_floats(args) + divide_up(args.out_channels, kLanes) * kLanes;
}

void few_channels_pack(const ConvReluArgs& args, float* workspace) {
  pack(args, workspace, workspace + weights_floats(args));
}

void few_channels_window(const ConvReluArgs& args, const float* workspace, const FewChannelsWindow& window, float* to) {
  Layer layer = make_layer(args, workspace);
  layer.width = window.columns;
  layer.streams = false;
  const float* const image = static_cast<const float*>(args.x) + window.image * args.height * layer.in_row;
  for (int64_t row = 0; row < window.rows; ++row) {
    run_row(layer, args.in_channels, image + (window.y + row) * layer.in_row + window.x * args.in_channels,
            to + row * window.columns * layer.outputs);
  }
}

void few_channels(const ConvReluArgs& args, const Threads& threads) {
  const Layer layer = make_layer(args, args.workspace);
  const int64_t rows = args.images * layer.height;
  few_channels_pack(args, args.workspace);
  parallel_tasks(threads, divide_up(rows, kTaskRows), [&](int64_t task, int64_t) {
    for (int64_t row = task * kTaskRows; row < smaller((task + 1) * kTaskRows, rows); ++row) {
      const int64_t in = (row / layer.height * args.height + row % layer.height) * layer.in_row;
      run_row(layer, args.in_channels, static_cast<const float*>(args.x) + in,
              static_cast<float*>(args.y) + row * layer.out_row);
    }
    if (layer.streams) finish_streams();
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
