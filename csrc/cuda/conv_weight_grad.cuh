// What the weight gradients on tensor cores share: the pixels are cut into shares, whose sums are added in their order.
#pragma once

#include "core/dtype.h"
#include "cuda/device.cuh"

namespace unet_fast {
namespace {

// grad_weight[m, n, tap] = sum over shares of partial[share, tap, m, n]
struct WeightGradSums {
  int shares, taps;
  int64_t rows, columns;  // channels m, n
  int64_t biases;         // the bias's channels
  float* partial;         // [shares, taps, rows, columns]
  float* bias_partial;    // [shares, biases]

  UNET_FAST_METHOD int64_t weights() const { return taps * rows * columns; }
  int64_t workspace() const { return shares * (weights() + biases); }  // floats
  void take(float* workspace) {
    partial = workspace;
    bias_partial = workspace + shares * weights();
  }
};

// As many shares as fill an H100 once, each of several tiles of pixels: what a share writes is more than what a tile
// reads. By the shape alone: the same bits on every GPU.
inline int weight_grad_shares(int64_t tiles, int64_t blocks) {
  constexpr int64_t kBlocks = 132, kTilesOfShare = 4;
  const int64_t most = tiles / kTilesOfShare, shares = kBlocks / blocks;
  return static_cast<int>(shares < 1 || most < 1 ? 1 : shares < most ? shares : most);
}

constexpr int kFinishThreads = 256;

// First the weight's gradient, a thread per element of a share, then the bias's.
template <class T>
__global__ void finish_weight_grad_kernel(WeightGradSums sums, T* grad_weight, T* grad_bias) {
  const int64_t weights = sums.weights(), step = static_cast<int64_t>(gridDim.x) * kFinishThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kFinishThreads + threadIdx.x; i < weights + sums.biases;
       i += step) {
    const bool is_bias = i >= weights;
    const float* from = is_bias ? sums.bias_partial + (i - weights) : sums.partial + i;
    const int64_t share_size = is_bias ? sums.biases : weights;
    float sum = 0;
#pragma unroll 8
    for (int share = 0; share < sums.shares; ++share) sum += from[share * share_size];
    if (is_bias) {
      grad_bias[i - weights] = from_float<T>(sum);
    } else {
      const int64_t place = i % (sums.rows * sums.columns), tap = i / (sums.rows * sums.columns);
      grad_weight[place * sums.taps + tap] = from_float<T>(sum);
    }
  }
}

template <class T>
const char* finish_weight_grad(const WeightGradSums& sums, void* grad_weight, void* grad_bias, const Stream& stream) {
  return launch(finish_weight_grad_kernel<T>, grid_for(sums.weights() + sums.biases, kFinishThreads),
                dim3(kFinishThreads), 0, stream, sums, static_cast<T*>(grad_weight), static_cast<T*>(grad_bias));
}

}  // namespace
}  // namespace unet_fast
