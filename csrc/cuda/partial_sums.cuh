// The second half of a sum over all pixels: what the blocks of a first kernel left, added in a fixed order.
#pragma once

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kFinishColumns = 32, kFinishRows = 16;

// consume(i, total) for each of `count` sums; partial: [chunks][count].
template <class Consumer>
__global__ void __launch_bounds__(kFinishColumns* kFinishRows)
    finish_partial_sums_kernel(const float* partial, int64_t chunks, int64_t count, Consumer consume) {
  __shared__ float sums[kFinishRows][kFinishColumns];
  const int column = static_cast<int>(threadIdx.x) % kFinishColumns;
  const int row = static_cast<int>(threadIdx.x) / kFinishColumns;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kFinishColumns + column;
  float sum = 0;
  if (i < count) {
    for (int64_t chunk = row; chunk < chunks; chunk += kFinishRows) sum += partial[chunk * count + i];
  }
  sums[row][column] = sum;
  __syncthreads();  // the rows' sums are there
  if (row > 0 || i >= count) return;
  for (int other = 1; other < kFinishRows; ++other) sum += sums[other][column];
  consume(i, sum);
}

template <class Consumer>
const char* finish_partial_sums(const float* partial, int64_t chunks, int64_t count, const Consumer& consume,
                                const Stream& stream) {
  const dim3 grid(static_cast<unsigned>((count + kFinishColumns - 1) / kFinishColumns));
  return launch(finish_partial_sums_kernel<Consumer>, grid, kFinishColumns * kFinishRows, 0, stream, partial, chunks,
                count, consume);
}

// Into how many chunks a sum over `pieces` is cut: at least `least` pieces each, and partial sums that take no time
// beside the rest. It depends on the shape alone, so a result has the same bits on every GPU.
inline int64_t chunks_of_pieces(int64_t pieces, int64_t least) {
  constexpr int64_t kMaxChunks = 1024;
  const int64_t chunks = pieces / least;
  return chunks < 1 ? 1 : chunks < kMaxChunks ? chunks : kMaxChunks;
}

// Thread worker * lanes + lane of a block has kCount sums: store(lane, k, total over the workers, in their order).
// All threads of the block call it; those beyond the last worker add nothing.
template <int kThreads, int kCount, class Store>
__device__ __forceinline__ void add_workers(const float (&sum)[kCount], int lanes, int workers, const Store& store) {
  __shared__ float shares[kThreads * kCount];
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // nobody reads the sums before any more
#pragma unroll
  for (int k = 0; k < kCount; ++k) shares[thread * kCount + k] = sum[k];
  __syncthreads();  // the shares are there
  for (int i = thread; i < lanes * kCount; i += kThreads) {
    float total = 0;
    for (int worker = 0; worker < workers; ++worker) total += shares[worker * lanes * kCount + i];
    store(i / kCount, i % kCount, total);
  }
}

}  // namespace
}  // namespace unet_fast
