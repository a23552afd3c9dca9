// Convolutions on the tensor cores of every GPU since sm_80, as a matrix product
//
//   y[pixel, o] = sum over (ky, kx, c) of x[c, step * pixel + (ky, kx)] weight[o, c, ky, kx]
//
// with 3 x 3 taps and step 1: conv_relu; 1 tap: up_conv, whose four parities are blocks of outputs that go to pixels of
// their own; 2 x 2 taps and step 2: the data gradient of up_conv.
//
// A block of eight warps computes 8 x 16 pixels x 64 or 128 output channels; for each tap and 128 bytes of input
// channels it copies 128 rows of pixels and the rows of weights to shared memory (cp.async), three stages deep. A copy
// that would read outside of the image or of the channels gives zeros. T is BFloat16, Float16 or float, which is
// rounded to TF32: the same bytes take the same way, half as many channels at a time. conv_mma_store.cuh has the way
// back.
#pragma once

#include "cuda/conv_mma_store.cuh"
#include "cuda/conv_splits.h"

namespace unet_fast {
namespace {

constexpr int kMmaStages = 3;
constexpr int kMmaRowBytes = 128;

template <class T>
constexpr int kMmaChunk = kMmaRowBytes / sizeof(T);  // input channels at a time

template <int kTaps>
constexpr int kMmaStep = kTaps == 2 ? 2 : 1;

template <int kOutputs>
constexpr int kMmaStageBytes = (kMmaPixels + kOutputs) * kMmaRowBytes;

// What a thread copies of each stage: 16 bytes of every 32nd row.
struct MmaLoader {
  int piece, row;  // which 16 bytes of a row; the first row
  int64_t image;
  int y, x;    // of the input pixel under tap (0, 0) of the first row; the next rows are 2 steps below
  int output;  // of the first row of weights
};

// Tap and chunk number k into the stage.
template <class T, int kOutputs, int kTaps>
__device__ __forceinline__ void mma_load(const ConvMma& conv, const MmaLoader& loader, int k, SharedAddress stage) {
  const ConvReluArgs& args = conv.args;
  const int chunks = conv.chunks + conv.skip_chunks;
  const int tap = k / chunks, chunk = k % chunks, ky = tap / kTaps, kx = tap % kTaps;
  const bool is_skip = chunk >= conv.chunks;
  const int64_t c = (is_skip ? chunk - conv.chunks : chunk) * kMmaChunk<T> + loader.piece * kMmaPiece<T>;
  const int64_t channels = is_skip ? args.skip.channels : args.in_channels;
  const int64_t row_stride = is_skip ? args.skip.row_stride : args.width * args.in_channels;
  const int64_t image_stride = is_skip ? args.skip.image_stride : args.height * args.width * args.in_channels;
  const auto* source = static_cast<const T*>(is_skip ? args.skip.data : args.x);
  const int y = loader.y + ky, x = loader.x + kx;
  const bool reads_column = c < channels && x >= 0 && x < args.width;
  const T* pixel = source + loader.image * image_stride + y * row_stride + x * channels + c;
#pragma unroll
  for (int i = 0; i < kMmaPixels / 32; ++i) {
    const int below = 2 * kMmaStep<kTaps> * i;
    const bool reads = reads_column && y + below >= 0 && y + below < args.height;
    copy_16_bytes(stage + swizzled(loader.row + 32 * i, loader.piece), reads ? pixel + below * row_stride : source,
                  reads);
  }
  const auto* weight = static_cast<const T*>(args.weight);
  const int64_t at = loader.output * args.weight_stride_o + ky * args.weight_stride_y + kx * args.weight_stride_x +
                     (is_skip ? args.in_channels : 0) + c;
#pragma unroll
  for (int i = 0; i < kOutputs / 32; ++i) {
    const bool reads = c < channels && loader.output + 32 * i < args.out_channels;
    copy_16_bytes(stage + kMmaPixels * kMmaRowBytes + swizzled(loader.row + 32 * i, loader.piece),
                  weight + (reads ? at + 32 * i * args.weight_stride_o : 0), reads);
  }
}

// A warp's sums over one stage: 32 pixels x kOutputs / 2 channels.
template <class T, int kOutputs>
__device__ __forceinline__ void mma_multiply(SharedAddress stage, int first_pixel, int first_output,
                                             float (&sums)[2][kOutputs / 16][4]) {
  const SharedAddress weights = stage + kMmaPixels * kMmaRowBytes;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const auto load = [](uint32_t (&m)[4], SharedAddress row) {
    load_matrices(m, row);
    if constexpr (sizeof(T) == 4) {
      for (uint32_t& value : m) value = to_tf32(value);
    }
  };
#pragma unroll
  for (int k = 0; k < kMmaRowBytes / 32; ++k) {
    uint32_t a[2][4], b[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      load(a[i], stage + swizzled(first_pixel + 16 * i + (lane & 15), 2 * k + (lane >> 4)));
    }
#pragma unroll
    for (int j = 0; j < kOutputs / 16; j += 2) {  // 16 channels
      const int output = first_output + 8 * j + (lane & 7) + (lane >> 4 << 3);
      load(b, weights + swizzled(output, 2 * k + (lane >> 3 & 1)));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        multiply_16x8<T>(sums[i][j], a[i], b[0], b[1]);
        multiply_16x8<T>(sums[i][j + 1], a[i], b[2], b[3]);
      }
    }
  }
}

template <class T, int kOutputs, int kTaps>
__global__ void __launch_bounds__(kMmaThreads) conv_mma_kernel(const __grid_constant__ ConvMma conv) {
  const SharedAddress shared = shared_address(dynamic_shared<unsigned char>());
  const int thread = static_cast<int>(threadIdx.x), warp = thread >> 5;
  int tile = static_cast<int>(blockIdx.x);
  const int split = tile % conv.splits;
  tile /= conv.splits;
  const int block_output = tile % conv.blocks * kOutputs;
  tile /= conv.blocks;
  const int tile_x = tile % conv.columns * kMmaWidth, line = tile / conv.columns;
  const int tile_y = line % conv.rows * kMmaHeight, image = line / conv.rows;
  const int row = thread >> 3, padding = static_cast<int>(conv.args.padding);
  const MmaLoader loader = {thread & 7,
                            row,
                            image,
                            (tile_y + row / kMmaWidth) * kMmaStep<kTaps> - padding,
                            (tile_x + row % kMmaWidth) * kMmaStep<kTaps> - padding,
                            block_output + row};
  const int all_steps = kTaps * kTaps * (conv.chunks + conv.skip_chunks);
  const int first = all_steps * split / conv.splits, steps = all_steps * (split + 1) / conv.splits - first;
  const auto stage_of = [&](int k) { return shared + k % kMmaStages * kMmaStageBytes<kOutputs>; };

  // Warps: 4 along the pixels x 2 along the channels.
  const MmaPart part = {image, tile_y, tile_x, block_output, (warp & 3) * 32, (warp >> 2) * (kOutputs / 2)};
  float sums[2][kOutputs / 16][4] = {};
#pragma unroll
  for (int k = 0; k < kMmaStages - 1; ++k) {
    if (k < steps) mma_load<T, kOutputs, kTaps>(conv, loader, first + k, stage_of(k));
    copies_commit();
  }
  for (int k = 0; k < steps; ++k) {
    copies_wait<kMmaStages - 2>();
    __syncthreads();  // stage k has arrived for all, and nobody reads stage k - 1 any more: the next copies go there
    const int next = k + kMmaStages - 1;
    if (next < steps) mma_load<T, kOutputs, kTaps>(conv, loader, first + next, stage_of(next));
    copies_commit();
    mma_multiply<T, kOutputs>(stage_of(k), part.first_pixel, part.first_output, sums);
  }
  if (kTaps == 3 && conv.splits > 1) return mma_store_part<kOutputs>(conv, part, split, sums);
  static_assert(kMmaPixels * kOutputs * sizeof(T) <= kMmaStages * kMmaStageBytes<kOutputs>);
  __syncthreads();  // nobody reads the stages any more
  mma_stage_results<T, kOutputs, kTaps>(conv, shared, part, sums);
  __syncthreads();  // the results are there
  if constexpr (kTaps == 1) {
    mma_store_parities<T, kOutputs>(conv, shared, part);
  } else {
    mma_store<T, kOutputs>(conv, shared, part);
  }
}

template <class T, int kOutputs, int kTaps>
const char* launch_conv_mma(const ConvMma& conv, const Stream& stream) {
  const int64_t tiles = conv.args.images * conv.rows * conv.columns * conv.blocks * conv.splits;
  return launch(conv_mma_kernel<T, kOutputs, kTaps>, dim3(static_cast<unsigned>(tiles)), dim3(kMmaThreads),
                kMmaStages * kMmaStageBytes<kOutputs>, stream, conv);
}

// out_height x out_width: pixels that are computed; outputs: channels of a block.
inline ConvMma plan_conv_mma(const ConvReluArgs& args, int64_t out_height, int64_t out_width, int64_t bias_channels,
                             int outputs) {
  const auto pieces = [](int64_t length, int64_t piece) { return static_cast<int>((length + piece - 1) / piece); };
  const int chunk = kMmaRowBytes / size_of(args.dtype);
  ConvMma conv = {};
  conv.args = args;
  conv.bias_channels = static_cast<int>(bias_channels);
  conv.out_height = static_cast<int>(out_height), conv.out_width = static_cast<int>(out_width);
  conv.rows = pieces(out_height, kMmaHeight), conv.columns = pieces(out_width, kMmaWidth);
  conv.blocks = pieces(args.out_channels, outputs);
  conv.chunks = pieces(args.in_channels, chunk), conv.skip_chunks = pieces(args.skip.channels, chunk);
  conv.splits = 1;
  return conv;
}

}  // namespace
}  // namespace unet_fast
