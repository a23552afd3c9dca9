// The matrix product behind the convolutions that run without tensor cores:
//
//   out(row, column) = sum over k of a(row, k) * b(k, column)
//
// where a Problem says how a and b are gathered from its tensors and what becomes of the sums. A block computes 64 x 64
// sums, sixteen k at a time through shared memory, a thread 4 x 4 of them. blockIdx.z numbers chunks of k, for sums so
// long that they are cut into pieces.
#pragma once

#include "core/dtype.h"
#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kProductTile = 64;      // rows and columns of a block
constexpr int kProductDepth = 16;     // k at a time
constexpr int kProductSums = 4;       // rows and columns of a thread
constexpr int kProductThreads = 256;  // 16 x 16

// A Problem has
//   int64_t rows, columns            of the result
//   int64_t first(chunk)             the first k of a chunk; first(chunk + 1) is its end
//   Row row(row)                     what of a(row, k) does not depend on k
//   float a(Row, k), b(k, column)
//   void write(row, column, chunk, sum)
//   static constexpr bool kNeighbouringRows   whether a(row, k) and a(row + 1, k) are neighbours in memory, else
//                                             a(row, k) and a(row, k + 1) are
template <class Problem>
__global__ void __launch_bounds__(kProductThreads) gathered_product_kernel(Problem problem) {
  // Four more columns: threads that write a column of `a` then meet different banks.
  __shared__ float a_tile[kProductDepth][kProductTile + 4];
  __shared__ float b_tile[kProductDepth][kProductTile];
  constexpr int kLoads = kProductTile * kProductDepth / kProductThreads;  // values of a, and of b, that a thread loads
  const int thread = threadIdx.x;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kProductTile;
  const int64_t first_column = static_cast<int64_t>(blockIdx.y) * kProductTile;
  const int64_t end = problem.first(blockIdx.z + 1);

  // Load number i of this thread is a(a_row(i), k + a_k(i)) and b(k + b_k(i), b_column).
  const auto a_row = [=](int i) {
    return Problem::kNeighbouringRows ? thread % kProductTile
                                      : thread / kProductDepth + i * (kProductThreads / kProductDepth);
  };
  const auto a_k = [=](int i) {
    return Problem::kNeighbouringRows ? thread / kProductTile + i * (kProductThreads / kProductTile)
                                      : thread % kProductDepth;
  };
  const auto b_k = [=](int i) { return thread / kProductTile + i * (kProductThreads / kProductTile); };
  const int b_column = thread % kProductTile;
  typename Problem::Row rows[kLoads];
  for (int i = 0; i < kLoads; ++i) {
    if (first_row + a_row(i) < problem.rows) rows[i] = problem.row(first_row + a_row(i));
  }

  const int tile_row = thread / 16 * kProductSums, tile_column = thread % 16 * kProductSums;
  float sum[kProductSums][kProductSums] = {};
  for (int64_t k = problem.first(blockIdx.z); k < end; k += kProductDepth) {
    for (int i = 0; i < kLoads; ++i) {
      const int64_t ka = k + a_k(i), kb = k + b_k(i);
      const bool a_inside = ka < end && first_row + a_row(i) < problem.rows;
      const bool b_inside = kb < end && first_column + b_column < problem.columns;
      a_tile[a_k(i)][a_row(i)] = a_inside ? problem.a(rows[i], ka) : 0.0f;
      b_tile[b_k(i)][b_column] = b_inside ? problem.b(kb, first_column + b_column) : 0.0f;
    }
    __syncthreads();  // the tiles are complete
    // Sums of sixteen products that are then added: shorter chains of roundings than one long sum.
    float part[kProductSums][kProductSums] = {};
    for (int step = 0; step < kProductDepth; ++step) {
      for (int i = 0; i < kProductSums; ++i) {
        for (int j = 0; j < kProductSums; ++j) {
          part[i][j] += a_tile[step][tile_row + i] * b_tile[step][tile_column + j];
        }
      }
    }
    for (int i = 0; i < kProductSums; ++i) {
      for (int j = 0; j < kProductSums; ++j) sum[i][j] += part[i][j];
    }
    __syncthreads();  // nobody reads the tiles any more
  }
  for (int i = 0; i < kProductSums; ++i) {
    for (int j = 0; j < kProductSums; ++j) {
      const int64_t row = first_row + tile_row + i, column = first_column + tile_column + j;
      if (row < problem.rows && column < problem.columns) problem.write(row, column, blockIdx.z, sum[i][j]);
    }
  }
}

template <class Problem>
const char* launch_product(const Problem& problem, int64_t chunks, const Stream& stream) {
  const auto tiles = [](int64_t count) { return static_cast<unsigned>((count + kProductTile - 1) / kProductTile); };
  const dim3 grid(tiles(problem.rows), tiles(problem.columns), static_cast<unsigned>(chunks));
  return launch(gathered_product_kernel<Problem>, grid, dim3(kProductThreads), 0, stream, problem);
}

// Into how many chunks a sum over `count` is cut: enough blocks to fill a GPU, long enough to be worth a block, and
// partial results of at most 64 MiB. It depends on the shape alone, so a result has the same bits on every GPU.
inline int64_t chunks_of_sum(int64_t count, int64_t rows, int64_t columns) {
  constexpr int64_t kBlocks = 1024, kMinLength = 512, kMaxFloats = 16 << 20;
  const int64_t tiles = ((rows + kProductTile - 1) / kProductTile) * ((columns + kProductTile - 1) / kProductTile);
  int64_t chunks = (kBlocks + tiles - 1) / tiles;
  if (chunks > count / kMinLength) chunks = count / kMinLength;
  if (chunks > kMaxFloats / (rows * columns)) chunks = kMaxFloats / (rows * columns);
  return chunks < 1 ? 1 : chunks;
}

// A sum over pixels, cut into chunks whose results lie in `partial`: [chunks][rows][columns].
struct ChunkedSum {
  int64_t rows, columns;
  int64_t pixels, chunks;
  float* partial;

  ChunkedSum(int64_t rows, int64_t columns, int64_t pixels, float* partial)
      : rows(rows), columns(columns), pixels(pixels), chunks(chunks_of_sum(pixels, rows, columns)), partial(partial) {}

  int64_t workspace() const { return chunks * rows * columns; }

  UNET_FAST_METHOD int64_t first(int64_t chunk) const { return pixels * chunk / chunks; }
  UNET_FAST_METHOD void write(int64_t row, int64_t column, int64_t chunk, float sum) const {
    partial[(chunk * rows + row) * columns + column] = sum;
  }
  // Adds the chunks in their order.
  UNET_FAST_METHOD float total(int64_t row, int64_t column) const {
    float sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[(chunk * rows + row) * columns + column];
    return sum;
  }
};

// problem.finish(row, column) for all sums.
template <class Problem>
__global__ void finish_sums_kernel(Problem problem) {
  const int64_t count = problem.rows * problem.columns;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kProductThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kProductThreads + threadIdx.x; i < count; i += step) {
    problem.finish(i / problem.columns, i % problem.columns);
  }
}

// For a Problem that is a ChunkedSum.
template <class Problem>
const char* launch_chunked_sum(const Problem& problem, const Stream& stream) {
  if (const char* error = launch_product(problem, problem.chunks, stream)) return error;
  const dim3 grid = grid_for(problem.rows * problem.columns, kProductThreads);
  return launch(finish_sums_kernel<Problem>, grid, dim3(kProductThreads), 0, stream, problem);
}

}  // namespace
}  // namespace unet_fast
