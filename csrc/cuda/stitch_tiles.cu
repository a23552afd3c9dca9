// stitch_tiles on CUDA: one block per row of a tile, all tiles at once. The last of several overlapping tiles wins, as
// if they were copied in order: a first kernel finds for each tile the first later tile that overlaps it (nearly always
// none), and only pixels of such a tile look for a later owner.
#include "ops/stitch_tiles.h"

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 128;

__device__ int64_t distance(int64_t a, int64_t b) { return a < b ? b - a : a - b; }

__global__ void find_overlaps_kernel(StitchTilesArgs args) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t tile = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; tile < args.tile_count; tile += step) {
    const int64_t y = args.origins[2 * tile], x = args.origins[2 * tile + 1];
    int64_t later = tile + 1;
    while (later < args.tile_count && (distance(args.origins[2 * later], y) >= args.tile_height ||
                                       distance(args.origins[2 * later + 1], x) >= args.tile_width)) {
      ++later;
    }
    args.covered_by[tile] = later;
  }
}

// Whether a tile from `first` on holds pixel (y, x) of the result.
__device__ bool is_covered(const StitchTilesArgs& args, int64_t first, int64_t y, int64_t x) {
  for (int64_t tile = first; tile < args.tile_count; ++tile) {
    const int64_t tile_y = y - args.origins[2 * tile], tile_x = x - args.origins[2 * tile + 1];
    if (tile_y >= 0 && tile_y < args.tile_height && tile_x >= 0 && tile_x < args.tile_width) return true;
  }
  return false;
}

template <class T>
__global__ void stitch_tiles_kernel(StitchTilesArgs args) {
  for (int64_t row = blockIdx.x; row < args.tile_count * args.planes * args.tile_height; row += gridDim.x) {
    const int64_t tile_y = row % args.tile_height, k = row / args.tile_height % args.planes;
    const int64_t tile = row / args.tile_height / args.planes;
    const int64_t y = args.origins[2 * tile] + tile_y, origin_x = args.origins[2 * tile + 1];
    if (y < 0 || y >= args.height) continue;
    const int64_t first_later = args.covered_by[tile];
    const T* from = static_cast<const T*>(args.tiles) + tile * args.tile_stride_t + k * args.tile_stride_k +
                    tile_y * args.tile_stride_y;
    T* out = static_cast<T*>(args.out) + (k * args.height + y) * args.width;
    for (int64_t tile_x = threadIdx.x; tile_x < args.tile_width; tile_x += kBlock) {
      const int64_t x = origin_x + tile_x;
      if (x < 0 || x >= args.width || is_covered(args, first_later, y, x)) continue;
      out[x] = from[tile_x * args.tile_stride_x];
    }
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* stitch_tiles_cuda(const StitchTilesArgs& args, const Stream& stream) {
  const int64_t rows = args.tile_count * args.planes * args.tile_height;
  if (rows * args.tile_width * args.height * args.width == 0) return nullptr;
  const char* error = launch(find_overlaps_kernel, grid_for(args.tile_count, kBlock), kBlock, 0, stream, args);
  if (error) return error;
  visit_bits(args.dtype, [&](auto bits) {
    error = launch(stitch_tiles_kernel<decltype(bits)>, grid_for(rows, 1), kBlock, 0, stream, args);
  });
  return error;
}

}  // namespace unet_fast
