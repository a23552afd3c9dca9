// The weight gradient of the 3x3 convolution on Hopper's tensor cores (sm_90a), straight from NHWC memory:
//
//   grad_weight[o, c, ky, kx] = sum over pixels of grad[pixel, o] x[pixel + (ky, kx), c]
//
// A block has 64 o x 64 c x 9 taps and a share of the pixels, 128 at a time. Warpgroup 0 loads: the gradient, and for
// each kx a slab of x two rows higher. Warpgroups 1, 2, 3 take ky = 0, 1, 2: each multiplies the gradient by its rows
// of the three slabs at once, 64 x 192 sums. Pixels, over which is summed, are the outer index of both operands in
// memory, which wgmma takes for 16-bit types. TMA reads zeros beyond the last pixel and the last channel.
//
// The gradient of the bias is summed beside the products, by the blocks of the first 64 c, from the gradient that lies
// in shared memory anyway.
#pragma once

#include "cuda/conv_weight_grad.cuh"
#include "cuda/tensor_core.cuh"

namespace unet_fast {
namespace {

constexpr int kGradThreads = 512, kGradPixels = 128, kGradChannels = 64;
constexpr int kGradStages = 2;
constexpr int kGradBytes = kGradPixels * 128;         // of a stage's gradient
constexpr int kSlabBytes = (kGradPixels + 64) * 128;  // of a slab: two more rows of up to 32 pixels
constexpr int kGradStageBytes = kGradBytes + 3 * kSlabBytes;
constexpr int kGradBiasAt = kGradStages * kGradStageBytes;  // four warps' sums of 64 channels
constexpr int kGradBarriersAt = kGradBiasAt + 4 * kGradChannels * 4;
constexpr int kGradSharedBytes = kGradBarriersAt + 2 * kGradStages * 8 + 1024;

struct WeightGradWgmma {
  TensorMap grad, x, skip;    // boxes of 64 channels and a tile's, or a slab's, pixels
  int height, width;          // of a tile: 128 pixels
  int images, rows, columns;  // tiles
  int out_blocks, in_blocks;  // of 64 channels; the blocks of skip follow those of x
  int x_blocks;
  int out_channels, x_channels, skip_channels;
  WeightGradSums sums;
};

__device__ __forceinline__ int tiles_of(const WeightGradWgmma& g) { return g.images * g.rows * g.columns; }

__device__ __forceinline__ void grad_load(const WeightGradWgmma& g, SharedAddress shared, int out_block, int in_block,
                                          int share) {
  const bool is_skip = in_block >= g.x_blocks;
  const TensorMap& source = is_skip ? g.skip : g.x;
  const int c = (is_skip ? in_block - g.x_blocks : in_block) * kGradChannels;
  const uint32_t bytes = static_cast<uint32_t>(kGradBytes + 3 * (g.height + 2) * g.width * 128);
  int stage = 0;
  uint32_t round = 0;
  for (int tile = share; tile < tiles_of(g); tile += g.sums.shares) {
    const int x = tile % g.columns * g.width, line = tile / g.columns;
    const int y = line % g.rows * g.height, image = line / g.rows;
    const SharedAddress full = shared + kGradBarriersAt + 8 * stage, empty = full + 8 * kGradStages;
    const SharedAddress to = shared + stage * kGradStageBytes;
    mbarrier_wait(empty, round ^ 1);
    mbarrier_arrive_expecting(full, bytes);
    tma_load(to, g.grad, full, out_block * kGradChannels, x, y, image);
    for (int kx = 0; kx < 3; ++kx) tma_load(to + kGradBytes + kx * kSlabBytes, source, full, c, x + kx, y, image);
    if (++stage == kGradStages) stage = 0, round ^= 1;
  }
}

// Adds a warp's 32 pixels of two channels.
template <class T>
__device__ __forceinline__ void add_bias(SharedAddress grad, int warp, int lane, float (&sums)[2]) {
#pragma unroll 8
  for (int i = 0; i < 32; ++i) {
    const uint32_t both = load_shared_pair(grad + swizzled(warp * 32 + i, lane >> 2) + (lane & 3) * 4);
    sums[0] += to_float(T{static_cast<uint16_t>(both)});
    sums[1] += to_float(T{static_cast<uint16_t>(both >> 16)});
  }
}

template <class T>
__global__ void __launch_bounds__(kGradThreads, 1) weight_grad_wgmma_kernel(const __grid_constant__ WeightGradWgmma g) {
  const SharedAddress shared = (shared_address(dynamic_shared<unsigned char>()) + 1023) & ~SharedAddress{1023};
  const SharedAddress barriers = shared + kGradBarriersAt;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kGradStages; ++i) {
      mbarrier_init(barriers + 8 * i, 1);
      mbarrier_init(barriers + 8 * (kGradStages + i), 12);  // warps that multiply
    }
    mbarrier_fence_init();
  }
  __syncthreads();  // the barriers are there
  int block = static_cast<int>(blockIdx.x);
  const int in_block = block % g.in_blocks;
  block /= g.in_blocks;
  const int out_block = block % g.out_blocks, share = block / g.out_blocks;
  const int warpgroup = static_cast<int>(threadIdx.x) >> 7;
  // 128 * 32 + 384 * 144 registers are less than what 512 threads of 128 have.
  if (warpgroup == 0) {
    registers_release<32>();
    if (threadIdx.x == 0) grad_load(g, shared, out_block, in_block, share);
    return;
  }
  registers_take<144>();
  const int ky = warpgroup - 1, thread = static_cast<int>(threadIdx.x) & 127, lane = thread & 31, warp = thread >> 5;
  const bool sums_bias = ky == 0 && in_block == 0;
  float sums[96] = {}, bias[2] = {};
  int stage = 0;
  uint32_t round = 0;
  for (int tile = share; tile < tiles_of(g); tile += g.sums.shares) {
    const SharedAddress full = barriers + 8 * stage, grad = shared + stage * kGradStageBytes;
    const SharedAddress slabs = grad + kGradBytes + ky * g.width * 128;
    mbarrier_wait(full, round);
    products_begin();
#pragma unroll
    for (int k = 0; k < kGradPixels / 16; ++k) {
      multiply_64x192_by_columns<T>(sums, columns_descriptor(grad + 2048 * k, 1024),
                                    columns_descriptor(slabs + 2048 * k, kSlabBytes));
    }
    products_commit();
    if (sums_bias) add_bias<T>(grad, warp, lane, bias);
    products_wait<0>();
    if (lane == 0) mbarrier_arrive(full + 8 * kGradStages);  // this warp has read the stage
    if (++stage == kGradStages) stage = 0, round ^= 1;
  }

  const int channels = g.x_channels + g.skip_channels;
  const bool is_skip = in_block >= g.x_blocks;
  const int first_c = (is_skip ? in_block - g.x_blocks : in_block) * kGradChannels;
  const int source_channels = is_skip ? g.skip_channels : g.x_channels, offset = is_skip ? g.x_channels : 0;
#pragma unroll
  for (int j = 0; j < 24; ++j) {
    const int tap = 3 * ky + j / 8, c = first_c + j % 8 * 8 + 2 * (lane & 3);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int o = out_block * kGradChannels + warp * 16 + (lane >> 2) + 8 * half;
      if (o >= g.out_channels || c >= source_channels) continue;
      float* to =
          g.sums.partial + ((static_cast<int64_t>(share) * 9 + tap) * g.out_channels + o) * channels + offset + c;
      *reinterpret_cast<float2*>(to) = make_float2(sums[4 * j + 2 * half], sums[4 * j + 2 * half + 1]);
    }
  }
  if (!sums_bias) return;
  const SharedAddress warps = shared + kGradBiasAt;
  store_shared(warps + (warp * kGradChannels + 2 * lane) * 4, __float_as_uint(bias[0]));
  store_shared(warps + (warp * kGradChannels + 2 * lane + 1) * 4, __float_as_uint(bias[1]));
  named_barrier(1, 128);
  const int o = out_block * kGradChannels + thread;
  if (thread >= kGradChannels || o >= g.out_channels) return;
  float sum = 0;
  for (int i = 0; i < 4; ++i) sum += __uint_as_float(load_shared_pair(warps + (i * kGradChannels + thread) * 4));
  g.sums.bias_partial[static_cast<int64_t>(share) * g.out_channels + o] = sum;
}

}  // namespace
}  // namespace unet_fast
