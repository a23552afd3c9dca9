// The gradients of the first layer for its weight and bias, with g = grad where the gate is open, 0 elsewhere:
//
//   grad_weight[o][c][ky][kx] = sum over n, y, x of  in[n][y + ky][x + kx][c] * g[n][y][x][o]
//   grad_bias[o]              = sum over n, y, x of  g[n][y][x][o]
//
// A pixel's vector of g is read once and multiplied by the 9 C broadcast values under it. The sums leave the registers
// after a strip of a row, which is short enough for the first-level cache; those of a chunk of rows are added in
// memory, then the chunks.
#include "cpu/few_channels.h"

#include "cpu/row_blocks.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kTaps = 9;
constexpr int64_t kStrip = 64;  // pixels

// Sums for `vectors` vectors of g and for the bias, g itself and a value: do they fit into the registers?
constexpr bool fits(int64_t channels, int vectors) { return (kTaps * channels + 2) * vectors < kRegisters; }

struct Plan {
  int64_t height, width;  // of grad, pixels
  int64_t in_row;         // floats
  int64_t outputs, vectors;
  int64_t chunks;
  int64_t chunk_floats;  // [9 C + 1][vectors * kLanes]: weights by (ky, kx, c), then the bias
};

Plan make_plan(const ConvReluWeightGradArgs& args) {
  constexpr int64_t kMinPixels = 1024, kMaxChunks = 64;
  const int64_t height = args.height - 2, width = args.width - 2, rows = args.images * height;
  const int64_t vectors = divide_up(args.out_channels, kLanes);
  return {
      .height = height,
      .width = width,
      .in_row = args.width * args.in_channels,
      .outputs = args.out_channels,
      .vectors = vectors,
      .chunks = larger(1, smaller(smaller(rows * width / kMinPixels, kMaxChunks), rows)),
      .chunk_floats = (kTaps * args.in_channels + 1) * vectors * kLanes,
  };
}

// A strip of pixels of one row for one block of outputs.
struct Strip {
  const float* in;    // under the upper left tap of the first pixel
  const float* grad;  // first output of the block in the first pixel
  const float* gate;  // likewise, or null
  int64_t pixels;
  int64_t in_row, in_pixel, grad_pixel;  // floats from one to the next
  int64_t lanes;                         // of the last vector
  bool comes_first;                      // of the blocks: the strip is not in the cache yet
  float* sums;                           // [9 C + 1][kVectors * kLanes], rows sums_row apart
  int64_t sums_row;                      // floats
};

// Asks for all outputs of a pixel to come: the blocks read them in pieces, which the machine does not foresee.
UNET_FAST_FUNCTION void prefetch_pixel(const Strip& strip, int64_t offset) {
  constexpr int64_t kAhead = 512, kLine = 16;  // floats
  if (!strip.comes_first || strip.grad_pixel < kLine) return;
  prefetch(strip.grad + offset + kAhead, strip.grad_pixel * sizeof(float));
  if (strip.gate) prefetch(strip.gate + offset + kAhead, strip.grad_pixel * sizeof(float));
}

// Adds the sums of a strip; `read(offset, v)` returns vector v of g at an offset from the strip's first pixel. in_pixel
// is C again, but as a variable: a compiler that knew which values the next pixel shares would keep them, at a shuffle
// each, and a broadcast from memory costs nothing.
template <int kChannels, int kVectors, class Read>
UNET_FAST_FUNCTION void sum_strip(const Strip& strip, const Read& read) {
  constexpr int kDepth = 3 * kChannels;
  Vector sum[3 * kDepth + 1][kVectors] = {};
  const float* in[3] = {strip.in, strip.in + strip.in_row, strip.in + 2 * strip.in_row};
  const int64_t in_pixel = strip.in_pixel;
  int64_t offset = 0;
  for (int64_t x = 0; x < strip.pixels; ++x, offset += strip.grad_pixel) {
    prefetch_pixel(strip, offset);
    Vector grad[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      grad[v] = read(offset, v);
      sum[3 * kDepth][v] += grad[v];
    }
#pragma GCC unroll 3
    for (int ky = 0; ky < 3; ++ky) {
#pragma GCC unroll 12
      for (int s = 0; s < kDepth; ++s) {
        const Vector value = broadcast<1>(in[ky] + s);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sum[ky * kDepth + s][v] += value * grad[v];
      }
      in[ky] += in_pixel;
    }
  }
#pragma GCC unroll 40
  for (int i = 0; i <= 3 * kDepth; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* to = strip.sums + i * strip.sums_row + v * kLanes;
      store(to, load(to) + sum[i][v]);
    }
  }
}

template <int kChannels, int kVectors>
void add_strip(const Strip& strip) {
  const float *grad = strip.grad, *gate = strip.gate;
  const int64_t lanes = strip.lanes;
  if (lanes < kLanes) {
    sum_strip<kChannels, kVectors>(strip, [=](int64_t offset, int v) __attribute__((always_inline)) {
      const int64_t at = offset + v * kLanes, count = v == kVectors - 1 ? lanes : kLanes;
      const Vector value = load_lanes(grad + at, count);
      if (!gate) return value;
      return load_lanes(gate + at, count) <= Vector{} ? Vector{} : value;
    });
  } else if (gate) {
    sum_strip<kChannels, kVectors>(strip, [=](int64_t offset, int v) __attribute__((always_inline)) {
      const int64_t at = offset + v * kLanes;
      return load(gate + at) <= Vector{} ? Vector{} : load(grad + at);
    });
  } else {
    sum_strip<kChannels, kVectors>(
        strip, [=](int64_t offset, int v) __attribute__((always_inline)) { return load(grad + offset + v * kLanes); });
  }
}

template <int kChannels>
void sum_chunk(const ConvReluWeightGradArgs& args, const Plan& plan, int64_t row, int64_t end, float* sums) {
  constexpr int kVectors = fits(kChannels, 2) ? 2 : 1;
  memset(sums, 0, plan.chunk_floats * sizeof(float));
  for (; row < end; ++row) {
    const int64_t in_row = row / plan.height * args.height + row % plan.height;
    for (int64_t x = 0; x < plan.width; x += kStrip) {
      for (int64_t first = 0; first < plan.vectors; first += kVectors) {
        const int64_t at = (row * plan.width + x) * plan.outputs + first * kLanes;
        const int64_t vectors = smaller(kVectors, plan.vectors - first);
        const Strip strip = {
            .in = static_cast<const float*>(args.x) + in_row * plan.in_row + x * kChannels,
            .grad = static_cast<const float*>(args.grad) + at,
            .gate = args.gate ? static_cast<const float*>(args.gate) + at : nullptr,
            .pixels = smaller(kStrip, plan.width - x),
            .in_row = plan.in_row,
            .in_pixel = args.in_channels,
            .grad_pixel = plan.outputs,
            .lanes = smaller(kLanes, plan.outputs - (first + vectors - 1) * kLanes),
            .comes_first = first == 0,
            .sums = sums + first * kLanes,
            .sums_row = plan.vectors * kLanes,
        };
        vectors == kVectors ? add_strip<kChannels, kVectors>(strip) : add_strip<kChannels, 1>(strip);
      }
    }
  }
}

template <int kChannels = 1>
void sum_any_chunk(const ConvReluWeightGradArgs& args, const Plan& plan, int64_t row, int64_t end, float* sums) {
  if (args.in_channels == kChannels) return sum_chunk<kChannels>(args, plan, row, end, sums);
  if constexpr (fits(kChannels + 1, 1)) sum_any_chunk<kChannels + 1>(args, plan, row, end, sums);
}

}  // namespace

bool takes_few_channels(const ConvReluWeightGradArgs& args) {
  return args.dtype == DType::float32 && fits(args.in_channels, 1);
}

int64_t few_channels_weight_grad_workspace(const ConvReluWeightGradArgs& args) {
  const Plan plan = make_plan(args);
  return plan.chunks * plan.chunk_floats;
}

void few_channels_weight_grad(const ConvReluWeightGradArgs& args, const Threads& threads) {
  const Plan plan = make_plan(args);
  const int64_t rows = args.images * plan.height;
  float* sums = args.workspace;
  parallel_tasks(threads, plan.chunks, [&](int64_t chunk, int64_t) {
    sum_any_chunk(args, plan, rows * chunk / plan.chunks, rows * (chunk + 1) / plan.chunks,
                  sums + chunk * plan.chunk_floats);
  });
  for (int64_t chunk = 1; chunk < plan.chunks; ++chunk) {
    for (int64_t i = 0; i < plan.chunk_floats; ++i) sums[i] += sums[chunk * plan.chunk_floats + i];
  }
  float* grad_weight = static_cast<float*>(args.grad_weight);
  const int64_t sums_row = plan.vectors * kLanes, channels = args.in_channels;
  for (int64_t o = 0; o < plan.outputs; ++o) {
    for (int64_t i = 0; i < kTaps * channels; ++i) {
      grad_weight[(o * channels + i % channels) * kTaps + i / channels] = sums[i * sums_row + o];
    }
    static_cast<float*>(args.grad_bias)[o] = sums[kTaps * channels * sums_row + o];
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
