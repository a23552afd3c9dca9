// Convolutions on the tensor cores of every GPU since sm_80, as a matrix product
//
//   y[pixel, o] = sum over (ky, kx, c) of x[c, step * pixel + (ky, kx)] weight[o, c, ky, kx]
//
// with 3 x 3 taps and step 1: conv_relu; 1 tap: up_conv, whose four parities are blocks of outputs that go to pixels of
// their own; 2 x 2 taps and step 2: the data gradient of up_conv.
//
// A block of eight warps computes 8 x 16 pixels x 64 or 128 output channels; for each tap and 64 input channels it
// copies 128 rows of pixels and the rows of weights to shared memory (cp.async), three stages deep. A copy that would
// read outside of the image or of the channels gives zeros. Results go through shared memory, so that 16 bytes are
// stored at a time and 2 x 2 pixels can be pooled.
#pragma once

#include "cuda/tensor_core.cuh"
#include "ops/conv_relu.h"

namespace unet_fast {
namespace {

constexpr int kMmaThreads = 256, kMmaStages = 3;
constexpr int kMmaHeight = 8, kMmaWidth = 16, kMmaPixels = kMmaHeight * kMmaWidth;  // of a tile
constexpr int kMmaChunk = 64;                                                       // input channels at a time
constexpr int kMmaRowBytes = 2 * kMmaChunk;

template <int kTaps>
constexpr int kMmaStep = kTaps == 2 ? 2 : 1;

template <int kOutputs>
constexpr int kMmaStageBytes = (kMmaPixels + kOutputs) * kMmaRowBytes;

struct ConvMma {
  ConvReluArgs args;          // with 1 tap, y is [N, 2 H, 2 W, O] and out_channels 4 O: (parity of y, of x, o)
  int bias_channels;          // O
  int out_height, out_width;  // pixels that are computed: before y is cropped, before parities are spread
  int rows, columns, blocks;  // tiles along y and x, blocks of output channels
  int chunks, skip_chunks;    // of 64 channels
};

// What a thread copies of each stage: 16 bytes of every 32nd row.
struct MmaLoader {
  int piece, row;  // which 16 bytes (8 channels) of a row; the first row
  int64_t image;
  int y, x;    // of the input pixel under tap (0, 0) of the first row; the next rows are 2 steps below
  int output;  // of the first row of weights
};

// Tap and chunk number k into the stage.
template <int kOutputs, int kTaps>
__device__ __forceinline__ void mma_load(const ConvMma& conv, const MmaLoader& loader, int k, SharedAddress stage) {
  const ConvReluArgs& args = conv.args;
  const int chunks = conv.chunks + conv.skip_chunks;
  const int tap = k / chunks, chunk = k % chunks, ky = tap / kTaps, kx = tap % kTaps;
  const bool is_skip = chunk >= conv.chunks;
  const int64_t c = (is_skip ? chunk - conv.chunks : chunk) * kMmaChunk + loader.piece * 8;
  const int64_t channels = is_skip ? args.skip.channels : args.in_channels;
  const int64_t row_stride = is_skip ? args.skip.row_stride : args.width * args.in_channels;
  const int64_t image_stride = is_skip ? args.skip.image_stride : args.height * args.width * args.in_channels;
  const auto* source = static_cast<const BFloat16*>(is_skip ? args.skip.data : args.x);
  const int y = loader.y + ky, x = loader.x + kx;
  const bool reads_column = c < channels && x >= 0 && x < args.width;
  const BFloat16* pixel = source + loader.image * image_stride + y * row_stride + x * channels + c;
#pragma unroll
  for (int i = 0; i < kMmaPixels / 32; ++i) {
    const int below = 2 * kMmaStep<kTaps> * i;
    const bool reads = reads_column && y + below >= 0 && y + below < args.height;
    copy_16_bytes(stage + swizzled(loader.row + 32 * i, loader.piece), reads ? pixel + below * row_stride : source,
                  reads);
  }
  const auto* weight = static_cast<const BFloat16*>(args.weight);
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
template <int kOutputs>
__device__ __forceinline__ void mma_multiply(SharedAddress stage, int first_pixel, int first_output,
                                             float (&sums)[2][kOutputs / 16][4]) {
  const SharedAddress weights = stage + kMmaPixels * kMmaRowBytes;
  const int lane = static_cast<int>(threadIdx.x) & 31;
#pragma unroll
  for (int k = 0; k < kMmaChunk / 16; ++k) {
    uint32_t a[2][4], b[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      load_matrices(a[i], stage + swizzled(first_pixel + 16 * i + (lane & 15), 2 * k + (lane >> 4)));
    }
#pragma unroll
    for (int j = 0; j < kOutputs / 16; j += 2) {  // 16 channels
      const int output = first_output + 8 * j + (lane & 7) + (lane >> 4 << 3);
      load_matrices(b, weights + swizzled(output, 2 * k + (lane >> 3 & 1)));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        multiply_16x8(sums[i][j], a[i], b[0], b[1]);
        multiply_16x8(sums[i][j + 1], a[i], b[2], b[3]);
      }
    }
  }
}

// 16 bytes of results, eight channels of a pixel, in shared memory.
template <int kOutputs>
__device__ __forceinline__ SharedAddress mma_result(SharedAddress shared, int pixel, int piece) {
  return shared + pixel * kOutputs * 2 + ((piece ^ (pixel & 7)) << 4);
}

// Bias, ReLU and rounding, to shared memory.
template <int kOutputs>
__device__ __forceinline__ void mma_stage_results(const ConvMma& conv, SharedAddress shared, int first_pixel,
                                                  int first_output, int block_output,
                                                  const float (&sums)[2][kOutputs / 16][4]) {
  const ConvReluArgs& args = conv.args;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const auto* bias = static_cast<const BFloat16*>(args.bias);
#pragma unroll
  for (int j = 0; j < kOutputs / 16; ++j) {
    const int output = first_output + 8 * j + 2 * (lane & 3);
    const bool has_bias = bias && block_output + output < args.out_channels;
    const int o = (block_output + output) % conv.bias_channels;
    const float bias0 = has_bias ? to_float(bias[o]) : 0.0f, bias1 = has_bias ? to_float(bias[o + 1]) : 0.0f;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float v0 = sums[i][j][2 * half] + bias0, v1 = sums[i][j][2 * half + 1] + bias1;
        if (args.relu && v0 < 0) v0 = 0;
        if (args.relu && v1 < 0) v1 = 0;
        const int pixel = first_pixel + 16 * i + (lane >> 2) + 8 * half;
        store_shared(mma_result<kOutputs>(shared, pixel, output >> 3) + (output & 7) * 2, pack_bfloat16(v0, v1));
      }
    }
  }
}

__device__ __forceinline__ uint32_t larger_pair(uint32_t a, uint32_t b) {
  const auto larger = [](uint32_t a, uint32_t b) {  // of the upper halves; NaN wins
    const float p = __uint_as_float(a & 0xffff0000u), q = __uint_as_float(b & 0xffff0000u);
    return (p > q || p != p ? a : b) & 0xffff0000u;
  };
  return larger(a, b) | larger(a << 16, b << 16) >> 16;
}

__device__ __forceinline__ uint4 larger_of(const uint4& a, const uint4& b) {
  return make_uint4(larger_pair(a.x, b.x), larger_pair(a.y, b.y), larger_pair(a.z, b.z), larger_pair(a.w, b.w));
}

// From shared memory to y, rest and pooled.
template <int kOutputs>
__device__ __forceinline__ void mma_store(const ConvMma& conv, SharedAddress shared, int64_t image, int tile_y,
                                          int tile_x, int block_output) {
  const ConvReluArgs& args = conv.args;
  const int crop = static_cast<int>(args.crop), height = conv.out_height - 2 * crop, width = conv.out_width - 2 * crop;
  const int64_t y_channels = args.y_rest ? args.y_channels : args.out_channels;
  constexpr int kPieces = kOutputs / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kMmaPixels * kPieces; i += kMmaThreads) {
    const int pixel = i / kPieces, piece = i % kPieces, o = block_output + 8 * piece;
    const int y = tile_y + pixel / kMmaWidth - crop, x = tile_x + pixel % kMmaWidth - crop;
    if (o >= args.out_channels || y < 0 || y >= height || x < 0 || x >= width) continue;
    const bool is_rest = o >= y_channels;
    const int64_t channels = is_rest ? args.out_channels - y_channels : y_channels;
    auto* to = static_cast<BFloat16*>(is_rest ? args.y_rest : args.y) + ((image * height + y) * width + x) * channels +
               (is_rest ? o - y_channels : o);
    *reinterpret_cast<uint4*>(to) = load_shared(mma_result<kOutputs>(shared, pixel, piece));
  }
  if (!args.pooled) return;
  for (int i = static_cast<int>(threadIdx.x); i < kMmaPixels / 4 * kPieces; i += kMmaThreads) {
    const int window = i / kPieces, piece = i % kPieces, o = block_output + 8 * piece;
    const int window_y = window / (kMmaWidth / 2), window_x = window % (kMmaWidth / 2);
    const int y = tile_y / 2 + window_y, x = tile_x / 2 + window_x;
    if (o >= args.out_channels || y >= conv.out_height / 2 || x >= conv.out_width / 2) continue;
    const int pixel = 2 * window_y * kMmaWidth + 2 * window_x;
    const auto value = [&](int offset) { return load_shared(mma_result<kOutputs>(shared, pixel + offset, piece)); };
    auto* to = static_cast<BFloat16*>(args.pooled) +
               ((image * (conv.out_height / 2) + y) * (conv.out_width / 2) + x) * args.out_channels + o;
    *reinterpret_cast<uint4*>(to) =
        larger_of(larger_of(value(0), value(1)), larger_of(value(kMmaWidth), value(kMmaWidth + 1)));
  }
}

// From shared memory to y of up_conv: channels (a, b, o) of pixel (y, x) are channels o of pixel (2 y + a, 2 x + b).
template <int kOutputs>
__device__ __forceinline__ void mma_store_parities(const ConvMma& conv, SharedAddress shared, int64_t image, int tile_y,
                                                   int tile_x, int block_output) {
  constexpr int kPieces = kOutputs / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kMmaPixels * kPieces; i += kMmaThreads) {
    const int pixel = i / kPieces, piece = i % kPieces, abo = block_output + 8 * piece;
    const int y = tile_y + pixel / kMmaWidth, x = tile_x + pixel % kMmaWidth;
    if (abo >= conv.args.out_channels || y >= conv.out_height || x >= conv.out_width) continue;
    const int parity = abo / conv.bias_channels, o = abo % conv.bias_channels;
    const int64_t line = (image * conv.out_height + y) * 2 + parity / 2;
    auto* to =
        static_cast<BFloat16*>(conv.args.y) + (line * 2 * conv.out_width + 2 * x + parity % 2) * conv.bias_channels + o;
    *reinterpret_cast<uint4*>(to) = load_shared(mma_result<kOutputs>(shared, pixel, piece));
  }
}

template <int kOutputs, int kTaps>
__global__ void __launch_bounds__(kMmaThreads) conv_mma_kernel(const __grid_constant__ ConvMma conv) {
  const SharedAddress shared = shared_address(dynamic_shared<unsigned char>());
  const int thread = static_cast<int>(threadIdx.x), warp = thread >> 5;
  int tile = static_cast<int>(blockIdx.x);
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
  const int steps = kTaps * kTaps * (conv.chunks + conv.skip_chunks);
  const auto stage_of = [&](int k) { return shared + k % kMmaStages * kMmaStageBytes<kOutputs>; };

  // Warps: 4 along the pixels x 2 along the channels.
  const int first_pixel = (warp & 3) * 32, first_output = (warp >> 2) * (kOutputs / 2);
  float sums[2][kOutputs / 16][4] = {};
#pragma unroll
  for (int k = 0; k < kMmaStages - 1; ++k) {
    if (k < steps) mma_load<kOutputs, kTaps>(conv, loader, k, stage_of(k));
    copies_commit();
  }
  for (int k = 0; k < steps; ++k) {
    copies_wait<kMmaStages - 2>();
    __syncthreads();  // stage k has arrived for all, and nobody reads stage k - 1 any more: the next copies go there
    const int next = k + kMmaStages - 1;
    if (next < steps) mma_load<kOutputs, kTaps>(conv, loader, next, stage_of(next));
    copies_commit();
    mma_multiply<kOutputs>(stage_of(k), first_pixel, first_output, sums);
  }
  static_assert(kMmaPixels * kOutputs * 2 <= kMmaStages * kMmaStageBytes<kOutputs>);
  __syncthreads();  // nobody reads the stages any more
  mma_stage_results<kOutputs>(conv, shared, first_pixel, first_output, block_output, sums);
  __syncthreads();  // the results are there
  if constexpr (kTaps == 1) {
    mma_store_parities<kOutputs>(conv, shared, image, tile_y, tile_x, block_output);
  } else {
    mma_store<kOutputs>(conv, shared, image, tile_y, tile_x, block_output);
  }
}

template <int kOutputs, int kTaps>
const char* launch_conv_mma(ConvMma conv, const Stream& stream) {
  conv.blocks = static_cast<int>((conv.args.out_channels + kOutputs - 1) / kOutputs);
  const int64_t tiles = conv.args.images * conv.rows * conv.columns * conv.blocks;
  return launch(conv_mma_kernel<kOutputs, kTaps>, dim3(static_cast<unsigned>(tiles)), dim3(kMmaThreads),
                kMmaStages * kMmaStageBytes<kOutputs>, stream, conv);
}

// out_height x out_width: pixels that are computed.
template <int kTaps>
const char* launch_conv_mma(const ConvReluArgs& args, int64_t out_height, int64_t out_width, int64_t bias_channels,
                            const Stream& stream) {
  const auto pieces = [](int64_t length, int piece) { return static_cast<int>((length + piece - 1) / piece); };
  ConvMma conv = {};
  conv.args = args;
  conv.bias_channels = static_cast<int>(bias_channels);
  conv.out_height = static_cast<int>(out_height), conv.out_width = static_cast<int>(out_width);
  conv.rows = pieces(out_height, kMmaHeight), conv.columns = pieces(out_width, kMmaWidth);
  conv.chunks = pieces(args.in_channels, kMmaChunk), conv.skip_chunks = pieces(args.skip.channels, kMmaChunk);
  return args.out_channels > 64 ? launch_conv_mma<128, kTaps>(conv, stream) : launch_conv_mma<64, kTaps>(conv, stream);
}

}  // namespace
}  // namespace unet_fast
