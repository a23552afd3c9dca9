// mirror_tiles: cut tiles out of an image; what lies outside the image is its mirror image (overlap-tile, figure 2).
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

struct MirrorTilesArgs {
  const void* image;       // [C, H, W], read through the strides below
  DType image_dtype;       // see visit_image_type
  int64_t channels;        // C
  int64_t height;          // H, pixels
  int64_t width;           // W, pixels
  int64_t image_stride_c;  // elements
  int64_t image_stride_y;  // elements
  int64_t image_stride_x;  // elements
  const float* scale;      // [C] or null (1): out = scale * image + offset
  const float* offset;     // [C] or null (0)
  const int64_t* origins;  // [T, 2] dense: (y, x) of each tile's first pixel in image pixels, may lie outside
  int64_t tiles;           // T
  void* out;               // [T, h, w, C] dense
  DType out_dtype;         // bfloat16 or float32
  int64_t tile_height;     // h, pixels
  int64_t tile_width;      // w, pixels
};

void mirror_tiles_cpu(const MirrorTilesArgs& args, const Threads& threads);
const char* mirror_tiles_cuda(const MirrorTilesArgs& args, const Stream& stream);  // null, or what CUDA said

}  // namespace unet_fast
