// stitch_tiles: put the network's output tiles side by side into one image (overlap-tile, figure 2).
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

struct StitchTilesArgs {
  const void* tiles;       // [T, K, h, w], read through the strides below
  DType dtype;             // of the tiles and of the result: any, the elements are only moved
  int64_t tile_count;      // T
  int64_t planes;          // K
  int64_t tile_height;     // h, pixels
  int64_t tile_width;      // w, pixels
  int64_t tile_stride_t;   // elements
  int64_t tile_stride_k;   // elements
  int64_t tile_stride_y;   // elements
  int64_t tile_stride_x;   // elements
  const int64_t* origins;  // [T, 2] dense: (y, x) of each tile's first pixel in pixels of the result, may lie outside
  void* out;               // [K, H, W] dense, on CUDA filled with zeros: only pixels under a tile are written there
  int64_t height;          // H, pixels
  int64_t width;           // W, pixels
  int64_t* covered_by;     // [T] workspace of the CUDA kernel, null on the CPU
};

void stitch_tiles_cpu(const StitchTilesArgs& args, const Threads& threads);
const char* stitch_tiles_cuda(const StitchTilesArgs& args, const Stream& stream);  // null, or what CUDA said

}  // namespace unet_fast
