// Weight gradients on the tensor cores of every GPU since sm_80, straight from NHWC memory: sums over pixels
//
//   3 x 3 taps, conv_relu: grad_weight[m, n, ky, kx] = sum of left[pixel, m] right[pixel + (ky, kx), n]
//                          left is the gradient, right the input and the skip; the bias's is the sum of left
//   2 x 2 taps, up_conv:   grad_weight[m, n, a, b] = sum of left[pixel, m] right[2 pixel + (a, b), n]
//                          left is the input, right the gradient; the bias's is the sum of right over the pixels and
//                          taps
//
// A block of eight warps has 64 m x 64 n x all taps and a share of the pixels, a tile of some rows of 16 at a time. It
// copies the tile of left and all of right that lies under it to shared memory (cp.async), two stages deep; a copy that
// would read outside gives zeros. Neighbouring pixels of a row of the tile, 16 or 8 of TF32, are the k of a product;
// both operands have them outermost, so ldmatrix transposes, and of TF32, whose values are words, every lane reads its
// own. Right lies in shared memory such that neighbouring pixels of one tap are neighbouring rows: for 2 x 2 taps, the
// four parities lie apart.
#pragma once

#include "cuda/conv_weight_grad.cuh"
#include "cuda/tensor_core.cuh"
#include "ops/conv_relu.h"

namespace unet_fast {
namespace {

constexpr int kGradMmaThreads = 256, kGradMmaStages = 2, kGradMmaChannels = 64, kGradMmaWidth = 16;

template <class T, int kTaps>
struct GradMmaTile {
  static constexpr int kStep = 32 / sizeof(T);                            // pixels of a product
  static constexpr int kPiece = 16 / sizeof(T);                           // channels of a copy
  static constexpr int kHeight = (kTaps == 3 ? 16 : 8) / int{sizeof(T)};  // rows of 16 pixels
  static constexpr int kLeft = kHeight * kGradMmaWidth;
  static constexpr int kRightWidth = kTaps == 3 ? kGradMmaWidth + 2 : 2 * kGradMmaWidth;
  static constexpr int kRight = kTaps == 3 ? (kHeight + 2) * kRightWidth : 4 * kLeft;  // pixels
  // Of a pixel's 64 channels: swizzled, or with 32 bytes behind them. Then four pixels and eight channels of TF32 lie
  // in 32 different banks.
  static constexpr int kRowBytes = sizeof(T) == 2 ? 128 : 288;
  static constexpr int kRightAt = kLeft * kRowBytes;
  static constexpr int kStageBytes = kRightAt + kRight * kRowBytes;
  static constexpr int kBiasAt = kGradMmaStages * kStageBytes;  // eight warps' sums of 64 channels
  static constexpr int kSharedBytes = kBiasAt + 8 * kGradMmaChannels * 4;
  static_assert(kSharedBytes <= 99 * 1024, "what a block may have on every GPU since sm_80");

  // Where 16 bytes of a pixel lie.
  static __device__ __forceinline__ uint32_t at(int row, int piece) {
    return sizeof(T) == 2 ? swizzled(row, piece) : static_cast<uint32_t>(row * kRowBytes + piece * 16);
  }
  // Row of shared memory in which pixel (y, x) of right lies.
  static __device__ __forceinline__ int right_row(int y, int x) {
    if constexpr (kTaps == 3) return y * kRightWidth + x;
    return (y % 2 * 2 + x % 2) * kLeft + y / 2 * kGradMmaWidth + x / 2;
  }
};

struct WeightGradMma {
  const void* left;           // [N, H, W, M] dense
  int images, height, width;  // of left
  int left_channels;          // M
  SkipWindow right[2];        // sources whose channels follow each other; with 3 x 3 taps of (H + 2) x (W + 2) pixels,
                              // else of 2 H x 2 W
  int right_blocks[2];        // of 64 channels
  int left_blocks;            // of 64 channels
  int rows, columns;          // tiles
  WeightGradSums sums;
};

// What a block works on.
struct GradMmaPart {
  int left_channel, right_channel;  // the first of each, right's within its source
  int source;                       // of right
  int share;
};

// A tile of left and what of right lies under it into a stage.
template <class T, int kTaps>
__device__ __forceinline__ void grad_mma_load(const WeightGradMma& g, const GradMmaPart& part, int tile,
                                              SharedAddress stage) {
  using Tile = GradMmaTile<T, kTaps>;
  constexpr int kPieces = kGradMmaChannels / Tile::kPiece, kRows = kGradMmaThreads / kPieces;  // at once
  const int tile_x = tile % g.columns * kGradMmaWidth, line = tile / g.columns;
  const int tile_y = line % g.rows * Tile::kHeight, image = line / g.rows;
  const int piece = static_cast<int>(threadIdx.x) % kPieces, first = static_cast<int>(threadIdx.x) / kPieces;
  const auto* left = static_cast<const T*>(g.left);
  const int m = part.left_channel + Tile::kPiece * piece;
  for (int row = first; row < Tile::kLeft; row += kRows) {
    const int y = tile_y + row / kGradMmaWidth, x = tile_x + row % kGradMmaWidth;
    const bool reads = m < g.left_channels && y < g.height && x < g.width;
    const int64_t pixel = (static_cast<int64_t>(image) * g.height + y) * g.width + x;
    copy_16_bytes(stage + Tile::at(row, piece), reads ? left + pixel * g.left_channels + m : left, reads);
  }
  const SkipWindow& window = g.right[part.source];
  const auto* right = static_cast<const T*>(window.data);
  const int n = part.right_channel + Tile::kPiece * piece, scale = kTaps == 3 ? 1 : 2;
  const int height = scale * g.height + (kTaps == 3 ? 2 : 0), width = scale * g.width + (kTaps == 3 ? 2 : 0);
  for (int i = first; i < Tile::kRight; i += kRows) {
    const int below = i / Tile::kRightWidth, beside = i % Tile::kRightWidth;
    const int y = scale * tile_y + below, x = scale * tile_x + beside;
    const bool reads = n < window.channels && y < height && x < width;
    const int64_t at = image * window.image_stride + y * window.row_stride + x * window.channels + n;
    copy_16_bytes(stage + Tile::kRightAt + Tile::at(Tile::right_row(below, beside), piece), reads ? right + at : right,
                  reads);
  }
}

// Adds every eighth of `count` rows, of two channels a lane.
template <class T, class Tile>
__device__ __forceinline__ void add_rows(SharedAddress rows, int count, int warp, int lane, float (&sums)[2]) {
  const int piece = 2 * lane / Tile::kPiece, within = 2 * lane % Tile::kPiece * int{sizeof(T)};
  for (int row = warp; row < count; row += kGradMmaThreads / 32) {
    const SharedAddress address = rows + Tile::at(row, piece) + within;
    const uint32_t first = load_shared_pair(address);
    if constexpr (sizeof(T) == 2) {
      sums[0] += to_float(T{static_cast<uint16_t>(first)});
      sums[1] += to_float(T{static_cast<uint16_t>(first >> 16)});
    } else {
      sums[0] += __uint_as_float(first);
      sums[1] += __uint_as_float(load_shared_pair(address + 4));
    }
  }
}

// The pixels of a product, which lie in rows from `row` on, of 16 channels: as a factor of multiply_16x8, channels 0-7
// and 8-15 of the first half of the pixels, then of the second.
template <class T, class Tile>
__device__ __forceinline__ void load_factors(uint32_t (&m)[4], SharedAddress rows, int row, int channel, int lane) {
  if constexpr (sizeof(T) == 2) {
    const int pixel = (lane & 7) + (lane >> 4 << 3);
    load_matrices_transposed(m, rows + Tile::at(row + pixel, channel / 8 + (lane >> 3 & 1)));
  } else {
    const SharedAddress first = rows + Tile::at(row + (lane & 3), 0) + (channel + (lane >> 2)) * 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      m[i] = to_tf32(load_shared_pair(first + (i >> 1) * 4 * Tile::kRowBytes + (i & 1) * 32));
    }
  }
}

// A warp's sums over one stage: 32 m x 16 n x all taps, as 2 x 2 products of 16 x 8.
template <class T, int kTaps>
__device__ __forceinline__ void grad_mma_multiply(SharedAddress stage, int warp, int lane,
                                                  float (&sums)[kTaps * kTaps][2][2][4]) {
  using Tile = GradMmaTile<T, kTaps>;
  const int left_channel = (warp & 1) * 32, right_channel = (warp >> 1) * 16;
  for (int pixel = 0; pixel < Tile::kLeft; pixel += Tile::kStep) {
    const int y = pixel / kGradMmaWidth, x = pixel % kGradMmaWidth;
    uint32_t a[2][4], b[4];
#pragma unroll
    for (int i = 0; i < 2; ++i) load_factors<T, Tile>(a[i], stage, pixel, left_channel + 16 * i, lane);
#pragma unroll
    for (int tap = 0; tap < kTaps * kTaps; ++tap) {
      const int row =
          kTaps == 3 ? Tile::right_row(y + tap / 3, x + tap % 3) : Tile::right_row(2 * y + tap / 2, 2 * x + tap % 2);
      load_factors<T, Tile>(b, stage + Tile::kRightAt, row, right_channel, lane);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        multiply_16x8<T>(sums[tap][i][0], a[i], b[0], b[2]);
        multiply_16x8<T>(sums[tap][i][1], a[i], b[1], b[3]);
      }
    }
  }
}

template <int kTaps>
__device__ __forceinline__ void grad_mma_store(const WeightGradMma& g, const GradMmaPart& part, int warp, int lane,
                                               const float (&sums)[kTaps * kTaps][2][2][4]) {
  const int offset = part.source ? static_cast<int>(g.right[0].channels) : 0;
#pragma unroll
  for (int tap = 0; tap < kTaps * kTaps; ++tap) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int m = part.left_channel + (warp & 1) * 32 + (i >> 2) * 16 + (i & 1) * 8 + (lane >> 2);
      const int n = part.right_channel + (warp >> 1) * 16 + (i >> 1 & 1) * 8 + 2 * (lane & 3);
      if (m >= g.left_channels || n >= g.right[part.source].channels) continue;
      const float* sum = sums[tap][i >> 2][i >> 1 & 1] + 2 * (i & 1);
      float* to = g.sums.partial + ((int64_t{part.share} * kTaps * kTaps + tap) * g.sums.rows + m) * g.sums.columns +
                  offset + n;
      *reinterpret_cast<float2*>(to) = make_float2(sum[0], sum[1]);
    }
  }
}

template <class T, int kTaps>
__global__ void __launch_bounds__(kGradMmaThreads, 1) weight_grad_mma_kernel(const __grid_constant__ WeightGradMma g) {
  using Tile = GradMmaTile<T, kTaps>;
  const SharedAddress shared = shared_address(dynamic_shared<unsigned char>());
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int blocks = g.right_blocks[0] + g.right_blocks[1];
  int block = static_cast<int>(blockIdx.x);
  const int right_block = block % blocks;
  block /= blocks;
  const int source = right_block >= g.right_blocks[0];
  const int first_right = (source ? right_block - g.right_blocks[0] : right_block) * kGradMmaChannels;
  const GradMmaPart part = {block % g.left_blocks * kGradMmaChannels, first_right, source, block / g.left_blocks};
  // One block per block of the bias's channels sums them.
  const bool sums_bias = kTaps == 3 ? right_block == 0 : part.left_channel == 0;

  float sums[kTaps * kTaps][2][2][4] = {}, bias[2] = {};
  const auto stage_of = [&](int i) { return shared + i % kGradMmaStages * Tile::kStageBytes; };
  const int tiles = g.images * g.rows * g.columns;
  if (part.share < tiles) grad_mma_load<T, kTaps>(g, part, part.share, stage_of(0));
  copies_commit();
  for (int tile = part.share, i = 0; tile < tiles; tile += g.sums.shares, ++i) {
    const int next = tile + g.sums.shares;
    if (next < tiles) grad_mma_load<T, kTaps>(g, part, next, stage_of(i + 1));
    copies_commit();
    copies_wait<1>();
    __syncthreads();  // stage i has arrived for all
    grad_mma_multiply<T, kTaps>(stage_of(i), warp, lane, sums);
    if (sums_bias) {
      kTaps == 3 ? add_rows<T, Tile>(stage_of(i), Tile::kLeft, warp, lane, bias)
                 : add_rows<T, Tile>(stage_of(i) + Tile::kRightAt, Tile::kRight, warp, lane, bias);
    }
    __syncthreads();  // nobody reads stage i any more: the next copies but one go there
  }
  grad_mma_store<kTaps>(g, part, warp, lane, sums);
  if (!sums_bias) return;
  const SharedAddress warps = shared + Tile::kBiasAt;
  store_shared(warps + (warp * kGradMmaChannels + 2 * lane) * 4, __float_as_uint(bias[0]));
  store_shared(warps + (warp * kGradMmaChannels + 2 * lane + 1) * 4, __float_as_uint(bias[1]));
  __syncthreads();  // the warps' sums are there
  const int channel = (kTaps == 3 ? part.left_channel : part.right_channel) + thread;
  if (thread >= kGradMmaChannels || channel >= g.sums.biases) return;
  float sum = 0;
  for (int i = 0; i < 8; ++i) sum += __uint_as_float(load_shared_pair(warps + (i * kGradMmaChannels + thread) * 4));
  g.sums.bias_partial[int64_t{part.share} * g.sums.biases + channel] = sum;
}

// Fills what follows from the sizes.
template <class T, int kTaps>
void plan_weight_grad_mma(WeightGradMma& grad) {
  const auto pieces = [](int64_t length, int piece) { return static_cast<int>((length + piece - 1) / piece); };
  grad.rows = pieces(grad.height, GradMmaTile<T, kTaps>::kHeight), grad.columns = pieces(grad.width, kGradMmaWidth);
  grad.left_blocks = pieces(grad.left_channels, kGradMmaChannels);
  for (int i = 0; i < 2; ++i) grad.right_blocks[i] = pieces(grad.right[i].channels, kGradMmaChannels);
  grad.sums.taps = kTaps * kTaps;
  grad.sums.rows = grad.left_channels, grad.sums.columns = grad.right[0].channels + grad.right[1].channels;
  grad.sums.biases = kTaps == 3 ? grad.sums.rows : grad.sums.columns;
  grad.sums.shares = weight_grad_shares(int64_t{grad.images} * grad.rows * grad.columns,
                                        grad.left_blocks * (grad.right_blocks[0] + grad.right_blocks[1]));
}

template <class T, int kTaps>
const char* launch_weight_grad_mma(const WeightGradMma& grad, void* grad_weight, void* grad_bias,
                                   const Stream& stream) {
  const int blocks = grad.sums.shares * grad.left_blocks * (grad.right_blocks[0] + grad.right_blocks[1]);
  if (const char* error = launch(weight_grad_mma_kernel<T, kTaps>, dim3(static_cast<unsigned>(blocks)),
                                 dim3(kGradMmaThreads), GradMmaTile<T, kTaps>::kSharedBytes, stream, grad)) {
    return error;
  }
  return finish_weight_grad<T>(grad.sums, grad_weight, grad_bias, stream);
}

}  // namespace
}  // namespace unet_fast
