// The 3x3 convolution on Hopper's tensor cores (sm_90a), as a matrix product without a matrix of gathered pixels:
//
//   y[o, pixel] = sum over (c, kx, ky) of weight[o, c, ky, kx] x[c, pixel + (ky, kx)]        64 x 256 per warpgroup
//
// Output channels are the rows, so that layers of 64 channels fill them; bias is then one number per register row, and
// the four pixels of a 2x2 pool lie in one thread's registers.
//
// For 64 input channels and one kx, a slab of pixels, two rows higher than the tile, lies in shared memory. The taps
// ky = 0, 1, 2 read it one row further down each time, so a pixel is loaded three times instead of nine:
//
//        slab     ky=0  ky=1  ky=2
//     row 0       |                       a row of pixels is a multiple of 1024 bytes:
//     row 1       |     |                 each view is a swizzled tile of its own
//     ...         |     |     |
//     row h-1     |     |     |
//     row h             |     |
//     row h+1                 |
//
// Warpgroup 0 has one thread that asks TMA for slabs and weights; warpgroups 1 and 2 multiply. Between them lie rings
// of slots, each with a barrier `full`, on which the multipliers wait, and a barrier `empty`, on which the loader
// waits. TMA reads zeros outside of the image and writes nothing outside of the result: padding, edges, channels beyond
// the last and a cropped result need no code. Persistent: a block computes one tile after the other. T is BFloat16 or
// Float16. conv_wgmma_store.cuh has the way back.
#pragma once

#include "cuda/conv_wgmma_store.cuh"

namespace unet_fast {
namespace {

constexpr int kConvThreads = 384;
constexpr int kConvReaders = 8;  // warps that multiply
// Shared memory, in bytes from its first multiple of 1024.
template <int kChannelGroups>
struct ConvShared {
  static constexpr int kSlabs = 2, kWeights = 5;  // slots
  static constexpr int kSlabBytes = (kChannelGroups == 2 ? 384 : 576) * kRowBytes;
  static constexpr int kWeightBytes = ConvTiles::kChannels * kChannelGroups * kRowBytes;
  static constexpr int kStageBytes = ConvTiles::kPixels / 2 * kRowBytes;  // half a warpgroup's results
  static constexpr int kWeightsAt = kSlabs * kSlabBytes;
  static constexpr int kStagesAt = kWeightsAt + kWeights * kWeightBytes;
  static constexpr int kBarriersAt = kStagesAt + 2 * kStageBytes;
  static constexpr int kBytes = kBarriersAt + 2 * (kSlabs + kWeights) * 8 + 1024;  // 1024: to reach that multiple
};

// What a block does next: a tile, or one of several parts of its sums.
struct ConvPart {
  ConvTile tile;
  int split;
  int first_chunk, end_chunk;

  __device__ __forceinline__ ConvPart(const ConvWgmma& conv, int index)
      : tile(conv.tiles[index / conv.splits]), split(index % conv.splits) {
    const int chunks = conv.chunks + conv.skip_chunks;
    first_chunk = chunks * split / conv.splits, end_chunk = chunks * (split + 1) / conv.splits;
  }
};

__device__ __forceinline__ int parts_of(const ConvWgmma& conv) { return conv.tiles.count() * conv.splits; }

// A ring of slots as one side sees it.
template <int kSlots>
struct Ring {
  SharedAddress barriers;  // full, then empty, of each slot
  int slot = 0;
  uint32_t round = 0;  // parity

  __device__ __forceinline__ explicit Ring(SharedAddress barriers) : barriers(barriers) {}
  __device__ __forceinline__ SharedAddress full() const { return barriers + 8 * slot; }
  __device__ __forceinline__ SharedAddress empty() const { return barriers + 8 * (kSlots + slot); }
  __device__ __forceinline__ void next() {
    if (++slot == kSlots) slot = 0, round ^= 1;
  }
  __device__ __forceinline__ void init(int readers) const {
    for (int i = 0; i < kSlots; ++i) {
      mbarrier_init(barriers + 8 * i, 1);
      mbarrier_init(barriers + 8 * (kSlots + i), readers);
    }
  }
};

template <int kChannelGroups>
__device__ __forceinline__ void conv_load(const ConvWgmma& conv, SharedAddress shared,
                                          Ring<ConvShared<kChannelGroups>::kSlabs> slabs,
                                          Ring<ConvShared<kChannelGroups>::kWeights> weights) {
  using Shared = ConvShared<kChannelGroups>;
  const uint32_t slab_bytes = static_cast<uint32_t>((conv.tiles.tile_height() + 2) * conv.tiles.width * kRowBytes);
  for (int i = static_cast<int>(blockIdx.x); i < parts_of(conv); i += static_cast<int>(gridDim.x)) {
    const ConvPart part(conv, i);
    const ConvTile& tile = part.tile;
    for (int chunk = part.first_chunk; chunk < part.end_chunk; ++chunk) {
      const bool is_skip = chunk >= conv.chunks;
      const int c = (is_skip ? chunk - conv.chunks : chunk) * kChunk;
      const TensorMap& source = is_skip ? conv.skip : conv.x;
      for (int kx = 0; kx < 3; ++kx) {
        mbarrier_wait(slabs.empty(), slabs.round ^ 1);
        mbarrier_arrive_expecting(slabs.full(), slab_bytes);
        tma_load(shared + slabs.slot * Shared::kSlabBytes, source, slabs.full(), c, tile.x + kx - conv.padding,
                 tile.y - conv.padding, tile.image);
        slabs.next();
        for (int ky = 0; ky < 3; ++ky) {
          mbarrier_wait(weights.empty(), weights.round ^ 1);
          mbarrier_arrive_expecting(weights.full(), Shared::kWeightBytes);
          tma_load(shared + Shared::kWeightsAt + weights.slot * Shared::kWeightBytes, conv.weight, weights.full(),
                   is_skip ? conv.in_channels + c : c, tile.channel, conv.rotated ? 2 - kx : kx,
                   conv.rotated ? 2 - ky : ky);
          weights.next();
        }
      }
    }
  }
}

// The sums of one tile. Each warp gives slots back, by the thread in which `leads` is true: PTX does not promise that
// one warp's products are done when another's are.
template <class T, int kChannelGroups>
__device__ __forceinline__ void conv_multiply(const ConvWgmma& conv, int chunks, SharedAddress slab_rows,
                                              SharedAddress weight_rows, bool leads,
                                              Ring<ConvShared<kChannelGroups>::kSlabs>& slabs,
                                              Ring<ConvShared<kChannelGroups>::kWeights>& weights,
                                              float (&sums)[ConvTiles::kPixels / 2]) {
  using Shared = ConvShared<kChannelGroups>;
  SharedAddress read_slab = 0, read_weight = 0;  // the `empty` barriers of what the last product but one read
  bool accumulates = false;
  for (int slab = 0; slab < 3 * chunks; ++slab) {
    mbarrier_wait(slabs.full(), slabs.round);
    const SharedAddress pixels = slab_rows + slabs.slot * Shared::kSlabBytes;
#pragma unroll
    for (int ky = 0; ky < 3; ++ky) {
      mbarrier_wait(weights.full(), weights.round);
      const uint64_t a = rows_descriptor(weight_rows + weights.slot * Shared::kWeightBytes);
      const uint64_t b = rows_descriptor(pixels + ky * conv.tiles.width * kRowBytes);
      products_begin();
#pragma unroll
      for (int k = 0; k < kChunk / 16; ++k) {
        multiply_64x256<T>(sums, a + 2 * k, b + 2 * k,
                           accumulates || k > 0);  // 16 channels: 32 bytes, which count as 2
      }
      accumulates = true;
      products_commit();
      products_wait<1>();  // the products before have been done: nobody reads their slots
      if (leads && read_weight) mbarrier_arrive(read_weight);
      if (leads && read_slab) mbarrier_arrive(read_slab);
      read_weight = weights.empty();
      read_slab = ky == 2 ? slabs.empty() : 0;
      weights.next();
    }
    slabs.next();
  }
  products_wait<0>();
  if (leads) mbarrier_arrive(read_weight), mbarrier_arrive(read_slab);
}

template <class T, int kChannelGroups>
__global__ void __launch_bounds__(kConvThreads, 1) conv_wgmma_kernel(const __grid_constant__ ConvWgmma conv) {
  using Shared = ConvShared<kChannelGroups>;
  const SharedAddress shared = (shared_address(dynamic_shared<unsigned char>()) + 1023) & ~SharedAddress{1023};
  Ring<Shared::kSlabs> slabs(shared + Shared::kBarriersAt);
  Ring<Shared::kWeights> weights(shared + Shared::kBarriersAt + 2 * Shared::kSlabs * 8);
  const int warpgroup = static_cast<int>(threadIdx.x) >> 7;
  if (threadIdx.x == 0) {
    slabs.init(kConvReaders);
    weights.init(kConvReaders);
    mbarrier_fence_init();
  }
  __syncthreads();  // the barriers are there
  // 128 * 40 + 256 * 232 registers are what 384 threads of 168 have.
  if (warpgroup == 0) {
    registers_release<40>();
    if (threadIdx.x == 0) conv_load<kChannelGroups>(conv, shared, slabs, weights);
    return;
  }
  registers_take<232>();
  const int group = warpgroup - 1;
  const int channel_group = kChannelGroups == 2 ? group : 0, row_group = kChannelGroups == 2 ? 0 : group;
  const bool leads = (threadIdx.x & 31) == 0;
  const SharedAddress slab_rows = shared + row_group * ConvTiles::kPixels * kRowBytes;
  const SharedAddress weight_rows = shared + Shared::kWeightsAt + channel_group * ConvTiles::kChannels * kRowBytes;
  const SharedAddress stage = shared + Shared::kStagesAt + group * Shared::kStageBytes;
  float sums[ConvTiles::kPixels / 2];
  for (int i = static_cast<int>(blockIdx.x); i < parts_of(conv); i += static_cast<int>(gridDim.x)) {
    ConvPart part(conv, i);
    part.tile.y += row_group * conv.tiles.height;
    part.tile.channel += channel_group * ConvTiles::kChannels;
    conv_multiply<T, kChannelGroups>(conv, part.end_chunk - part.first_chunk, slab_rows, weight_rows, leads, slabs,
                                     weights, sums);
    if (conv.splits > 1) {
      conv_store_part(conv, part.tile, part.split, sums);
    } else {
      conv_store<T>(conv, stage, group, part.tile, sums);
    }
  }
  if ((threadIdx.x & 127) == 0) tma_stores_wait();  // shared memory lives as long as the block
}

}  // namespace
}  // namespace unet_fast
