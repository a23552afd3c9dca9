// The way of conv_wgmma.cuh's sums to memory: through shared memory by TMA, with bias, ReLU, 2x2 pool and mask; parts
// of sums go straight to the workspace.
#pragma once

#include "cuda/conv_tiles.h"
#include "cuda/packed_values.cuh"
#include "cuda/tensor_core.cuh"

namespace unet_fast {
namespace {

constexpr int kChunk = 64;      // input channels at a time: rows of 128 bytes
constexpr int kRowBytes = 128;  // of 64 channels of a pixel, or of an output channel's weights

struct ConvWgmma {
  TensorMap x, skip;  // boxes of 64 channels and a slab's pixels
  TensorMap weight;   // (c, o, kx, ky), boxes of 64 c and a tile's o
  TensorMap y, rest;  // boxes of 64 channels and half of a warpgroup's pixels
  TensorMap pooled;   // boxes of 64 channels and a quarter of a warpgroup's pixels
  ConvTiles tiles;
  int chunks, skip_chunks;  // of 64 channels
  int in_channels;          // of x: the first c of skip
  int padding, crop;        // pixels
  bool rotated;             // tap (ky, kx) reads weight (2 - ky, 2 - kx)
  bool relu;
  bool pools, has_rest;
  const void* bias;  // [out_channels] or null
  const void* mask;  // [images, height, width, y_channels] or null: y is 0 where it is not positive
  int out_channels, y_channels;
  int height, width;  // pixels that are computed, before y is cropped
  int splits;         // blocks that share the sums of one tile, see conv_splits.h
  float* partial;     // [splits, images, height, width, out_channels]
};

__device__ __forceinline__ float larger(float a, float b) { return a > b || a != a ? a : b; }  // NaN wins

// 2 x 2 maxima of 8 rows of 32 pixels, to a tile of 64 pixels with rows of 64 channels.
template <class T>
__device__ __forceinline__ void conv_stage_pooled(SharedAddress stage, int row, int lane,
                                                  const float (&sums)[ConvTiles::kPixels / 2]) {
#pragma unroll
  for (int y = 0; y < 4; ++y) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float* above = sums + 4 * (8 * y + j);
      const float* below = above + 16;
      const uint32_t both = pack_pair<T>(larger(larger(above[0], above[1]), larger(below[0], below[1])),
                                         larger(larger(above[2], above[3]), larger(below[2], below[3])));
      const int pixel = y * 16 + j * 4 + (lane & 3);
      const int low = (row & 7) * 2;
      store_shared(stage + swizzled(pixel, row >> 3) + low, static_cast<uint16_t>(both));
      store_shared(stage + swizzled(pixel, (row >> 3) + 1) + low, static_cast<uint16_t>(both >> 16));
    }
  }
}

// Half of the pixels, to a tile of 128 pixels with rows of 64 channels.
template <class T, int kHalf>
__device__ __forceinline__ void conv_stage_half(SharedAddress stage, int warp, int lane,
                                                const float (&sums)[ConvTiles::kPixels / 2]) {
#pragma unroll
  for (int j = 0; j < 16; j += 2) {
    const float* s = sums + 4 * (16 * kHalf + j);
    store_matrices_transposed(stage + swizzled(8 * (j + (lane >> 4)) + (lane & 7), 2 * warp + ((lane >> 3) & 1)),
                              pack_pair<T>(s[0], s[1]), pack_pair<T>(s[2], s[3]), pack_pair<T>(s[4], s[5]),
                              pack_pair<T>(s[6], s[7]));
  }
}

// Half of the pixels as they lie in the stage, from pixel (y, x) of y on: 0 where the mask is not positive.
template <class T>
__device__ __forceinline__ void conv_mask_half(const ConvWgmma& conv, SharedAddress stage, const ConvTile& tile, int y,
                                               int x) {
  const auto* mask = static_cast<const T*>(conv.mask);
  const int thread = static_cast<int>(threadIdx.x) & 127;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int pixel = 16 * i + (thread >> 3), piece = thread & 7;
    const int at_y = y + pixel / conv.tiles.width, at_x = x + pixel % conv.tiles.width, c = tile.channel + 8 * piece;
    if (at_y >= conv.height || at_x >= conv.width || c >= conv.y_channels) continue;
    const int64_t at = ((int64_t{tile.image} * conv.height + at_y) * conv.width + at_x) * conv.y_channels + c;
    const SharedAddress values = stage + swizzled(pixel, piece);
    store_shared(values, gated<T>(load_shared(values), *reinterpret_cast<const uint4*>(mask + at)));
  }
}

// Bias, ReLU, and the way through shared memory to y, rest and pooled. `group` numbers the warpgroups that multiply.
template <class T>
__device__ __forceinline__ void conv_store(const ConvWgmma& conv, SharedAddress stage, int group, const ConvTile& tile,
                                           float (&sums)[ConvTiles::kPixels / 2]) {
  const int thread = static_cast<int>(threadIdx.x) & 127, lane = thread & 31, warp = thread >> 5;
  const int row = warp * 16 + (lane >> 2);  // of the sums with e < 2; the others lie 8 rows further down
  const auto bias_of = [&](int channel) {
    return conv.bias && channel < conv.out_channels ? to_float(static_cast<const T*>(conv.bias)[channel]) : 0.0f;
  };
  const float bias[2] = {bias_of(tile.channel + row), bias_of(tile.channel + row + 8)};
#pragma unroll
  for (int i = 0; i < ConvTiles::kPixels / 2; ++i) {
    const float sum = sums[i] + bias[i >> 1 & 1];
    sums[i] = conv.relu && sum < 0 ? 0.0f : sum;
  }
  const bool leads = thread == 0;
  // The stage is free when TMA has read it, which its one thread knows; and full when all have written and fenced.
  const auto stage_and_store = [&](const auto& write, const auto& store) {
    if (leads) tma_stores_wait_read();
    named_barrier(1 + group, 128);
    write();
    fence_shared_for_tma();
    named_barrier(1 + group, 128);
    if (leads) {
      store();
      tma_stores_commit();
    }
  };
  if (conv.pools) {
    stage_and_store([&] { conv_stage_pooled<T>(stage, row, lane, sums); },
                    [&] { tma_store(conv.pooled, stage, tile.channel, tile.x / 2, tile.y / 2, tile.image); });
  }
  const auto store_half = [&](int half) {
    const int x = tile.x - conv.crop, y = tile.y - conv.crop + half * (conv.tiles.height / 2);
    if (tile.channel < conv.y_channels) tma_store(conv.y, stage, tile.channel, x, y, tile.image);
    const int rest = tile.channel - conv.y_channels;  // negative where a block of channels belongs to both
    if (conv.has_rest && rest > -ConvTiles::kChannels) tma_store(conv.rest, stage, rest, x, y, tile.image);
  };
  const auto mask_half = [&](int half) {
    if (!conv.mask) return;
    named_barrier(1 + group, 128);  // the stage is full
    conv_mask_half<T>(conv, stage, tile, tile.y + half * (conv.tiles.height / 2), tile.x);
  };
  stage_and_store([&] { conv_stage_half<T, 0>(stage, warp, lane, sums), mask_half(0); }, [&] { store_half(0); });
  stage_and_store([&] { conv_stage_half<T, 1>(stage, warp, lane, sums), mask_half(1); }, [&] { store_half(1); });
}

// One of several parts of the sums, to the workspace.
__device__ __forceinline__ void conv_store_part(const ConvWgmma& conv, const ConvTile& tile, int split,
                                                const float (&sums)[ConvTiles::kPixels / 2]) {
  const int thread = static_cast<int>(threadIdx.x) & 127, lane = thread & 31, warp = thread >> 5;
  const int channel = tile.channel + warp * 16 + (lane >> 2);
  const int64_t first_row = (int64_t{split} * conv.tiles.images + tile.image) * conv.height;
#pragma unroll
  for (int j = 0; j < ConvTiles::kPixels / 8; ++j) {  // 8 pixels of a row
    const int y = tile.y + 8 * j / conv.tiles.width, x = tile.x + 8 * j % conv.tiles.width + 2 * (lane & 3);
    float* to = conv.partial + ((first_row + y) * conv.width + x) * conv.out_channels + channel;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int beside = e & 1, below = 8 * (e >> 1);  // pixel, channels
      if (y >= conv.height || x + beside >= conv.width || channel + below >= conv.out_channels) continue;
      to[beside * conv.out_channels + below] = sums[4 * j + e];
    }
  }
}

}  // namespace
}  // namespace unet_fast
