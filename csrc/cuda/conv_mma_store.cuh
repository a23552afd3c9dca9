// The way of conv_mma.cuh's sums to memory. They go through shared memory, so that 16 bytes are stored at a time, 2 x 2
// pixels can be pooled and a mask is read 16 bytes at a time; parts of sums go straight to the workspace.
#pragma once

#include "cuda/packed_values.cuh"
#include "cuda/tensor_core.cuh"
#include "ops/conv_relu.h"

namespace unet_fast {
namespace {

constexpr int kMmaThreads = 256;
constexpr int kMmaHeight = 8, kMmaWidth = 16, kMmaPixels = kMmaHeight * kMmaWidth;  // of a tile

struct ConvMma {
  ConvReluArgs args;          // with 1 tap, y is [N, 2 H, 2 W, O] and out_channels 4 O: (parity of y, of x, o)
  int bias_channels;          // O
  int out_height, out_width;  // pixels that are computed: before y is cropped, before parities are spread
  int rows, columns, blocks;  // tiles along y and x, blocks of output channels
  int chunks, skip_chunks;    // of 128 bytes of input channels
  int splits;                 // blocks that share the sums of one tile, see conv_splits.h
};

template <class T>
constexpr int kMmaPiece = 16 / sizeof(T);  // channels in 16 bytes

// What a warp has of a tile.
struct MmaPart {
  int64_t image;
  int tile_y, tile_x;             // the tile's first pixel
  int block_output;               // the block's first channel
  int first_pixel, first_output;  // of the warp, within the tile and the block
};

// 16 bytes of results, a piece of a pixel's channels, in shared memory.
template <class T, int kOutputs>
__device__ __forceinline__ SharedAddress mma_result(SharedAddress shared, int pixel, int piece) {
  return shared + pixel * kOutputs * static_cast<int>(sizeof(T)) + ((piece ^ (pixel & 7)) << 4);
}

// visit(of_channel(channel within the block), that channel, pixel within the tile, its sum, the next channel's sum)
template <int kOutputs, class OfChannel, class Visit>
__device__ __forceinline__ void visit_sums(const MmaPart& part, const float (&sums)[2][kOutputs / 16][4],
                                           const OfChannel& of_channel, const Visit& visit) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
#pragma unroll
  for (int j = 0; j < kOutputs / 16; ++j) {
    const int output = part.first_output + 8 * j + 2 * (lane & 3);
    const auto what = of_channel(output);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int pixel = part.first_pixel + 16 * i + (lane >> 2) + 8 * half;
        visit(what, output, pixel, sums[i][j][2 * half], sums[i][j][2 * half + 1]);
      }
    }
  }
}

// Bias, ReLU and rounding, to shared memory.
template <class T, int kOutputs, int kTaps>
__device__ __forceinline__ void mma_stage_results(const ConvMma& conv, SharedAddress shared, const MmaPart& part,
                                                  const float (&sums)[2][kOutputs / 16][4]) {
  const ConvReluArgs& args = conv.args;
  const auto bias_of = [&](int output) {
    const auto* bias = static_cast<const T*>(args.bias);
    if (!bias || part.block_output + output >= args.out_channels) return make_float2(0, 0);
    const int abo = part.block_output + output, o = kTaps == 1 ? abo % conv.bias_channels : abo;
    return make_float2(to_float(bias[o]), to_float(bias[o + 1]));
  };
  visit_sums<kOutputs>(part, sums, bias_of, [&](const float2& bias, int output, int pixel, float v0, float v1) {
    v0 += bias.x, v1 += bias.y;
    if (args.relu && v0 < 0) v0 = 0;
    if (args.relu && v1 < 0) v1 = 0;
    const SharedAddress to = mma_result<T, kOutputs>(shared, pixel, output / kMmaPiece<T>) +
                             output % kMmaPiece<T> * static_cast<int>(sizeof(T));
    if constexpr (sizeof(T) == 4) {
      store_shared(to, __float_as_uint(v0)), store_shared(to + 4, __float_as_uint(v1));
    } else {
      store_shared(to, pack_pair<T>(v0, v1));
    }
  });
}

// From shared memory to y, rest and pooled.
template <class T, int kOutputs>
__device__ __forceinline__ void mma_store(const ConvMma& conv, SharedAddress shared, const MmaPart& part) {
  const ConvReluArgs& args = conv.args;
  const int crop = static_cast<int>(args.crop), height = conv.out_height - 2 * crop, width = conv.out_width - 2 * crop;
  const int64_t y_channels = args.y_rest ? args.y_channels : args.out_channels;
  constexpr int kPieces = kOutputs / kMmaPiece<T>;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < kMmaPixels * kPieces; i += kMmaThreads) {
    const int pixel = i / kPieces, piece = i % kPieces, o = part.block_output + kMmaPiece<T> * piece;
    const int y = part.tile_y + pixel / kMmaWidth - crop, x = part.tile_x + pixel % kMmaWidth - crop;
    if (o >= args.out_channels || y < 0 || y >= height || x < 0 || x >= width) continue;
    const bool is_rest = o >= y_channels;
    const int64_t channels = is_rest ? args.out_channels - y_channels : y_channels;
    const int64_t at = ((part.image * height + y) * width + x) * channels + (is_rest ? o - y_channels : o);
    uint4 values = load_shared(mma_result<T, kOutputs>(shared, pixel, piece));
    if (args.mask && !is_rest) {
      values = gated<T>(values, *reinterpret_cast<const uint4*>(static_cast<const T*>(args.mask) + at));
    }
    *reinterpret_cast<uint4*>(static_cast<T*>(is_rest ? args.y_rest : args.y) + at) = values;
  }
  if (!args.pooled) return;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kMmaPixels / 4 * kPieces; i += kMmaThreads) {
    const int window = i / kPieces, piece = i % kPieces, o = part.block_output + kMmaPiece<T> * piece;
    const int window_y = window / (kMmaWidth / 2), window_x = window % (kMmaWidth / 2);
    const int y = part.tile_y / 2 + window_y, x = part.tile_x / 2 + window_x;
    if (o >= args.out_channels || y >= conv.out_height / 2 || x >= conv.out_width / 2) continue;
    const int pixel = 2 * window_y * kMmaWidth + 2 * window_x;
    const auto value = [&](int offset) { return load_shared(mma_result<T, kOutputs>(shared, pixel + offset, piece)); };
    auto* to = static_cast<T*>(args.pooled) +
               ((part.image * (conv.out_height / 2) + y) * (conv.out_width / 2) + x) * args.out_channels + o;
    *reinterpret_cast<uint4*>(to) =
        larger_of<T>(larger_of<T>(value(0), value(1)), larger_of<T>(value(kMmaWidth), value(kMmaWidth + 1)));
  }
}

// From shared memory to y of up_conv: channels (a, b, o) of pixel (y, x) are channels o of pixel (2 y + a, 2 x + b).
template <class T, int kOutputs>
__device__ __forceinline__ void mma_store_parities(const ConvMma& conv, SharedAddress shared, const MmaPart& part) {
  constexpr int kPieces = kOutputs / kMmaPiece<T>;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < kMmaPixels * kPieces; i += kMmaThreads) {
    const int pixel = i / kPieces, piece = i % kPieces, abo = part.block_output + kMmaPiece<T> * piece;
    const int y = part.tile_y + pixel / kMmaWidth, x = part.tile_x + pixel % kMmaWidth;
    if (abo >= conv.args.out_channels || y >= conv.out_height || x >= conv.out_width) continue;
    const int parity = abo / conv.bias_channels, o = abo % conv.bias_channels;
    const int64_t line = (part.image * conv.out_height + y) * 2 + parity / 2;
    auto* to = static_cast<T*>(conv.args.y) + (line * 2 * conv.out_width + 2 * x + parity % 2) * conv.bias_channels + o;
    *reinterpret_cast<uint4*>(to) = load_shared(mma_result<T, kOutputs>(shared, pixel, piece));
  }
}

// One of several parts of the sums, to the workspace.
template <int kOutputs>
__device__ __forceinline__ void mma_store_part(const ConvMma& conv, const MmaPart& part, int split,
                                               const float (&sums)[2][kOutputs / 16][4]) {
  const ConvReluArgs& args = conv.args;
  const int64_t first_row = (split * args.images + part.image) * conv.out_height;
  const auto to_channel = [&](int output) { return args.workspace + part.block_output + output; };
  visit_sums<kOutputs>(part, sums, to_channel, [&](float* to, int output, int pixel, float v0, float v1) {
    const int y = part.tile_y + pixel / kMmaWidth, x = part.tile_x + pixel % kMmaWidth;
    if (part.block_output + output >= args.out_channels || y >= conv.out_height || x >= conv.out_width) return;
    to += ((first_row + y) * conv.out_width + x) * args.out_channels;
    *reinterpret_cast<float2*>(to) = make_float2(v0, v1);
  });
}

}  // namespace
}  // namespace unet_fast
