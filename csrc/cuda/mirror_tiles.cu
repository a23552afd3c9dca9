// mirror_tiles on CUDA: one thread per value of the output, in NHWC order, so that neighbours write neighbours.
#include "ops/mirror_tiles.h"

#include "core/mirror.h"
#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256;

template <class In, class Out>
__global__ void mirror_tiles_kernel(MirrorTilesArgs args) {
  const int64_t tile_values = args.tile_height * args.tile_width * args.channels;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < args.tiles * tile_values; i += step) {
    const int64_t c = i % args.channels, pixel = i / args.channels;
    const int64_t x = pixel % args.tile_width, row = pixel / args.tile_width;
    const int64_t y = row % args.tile_height, tile = row / args.tile_height;
    const int64_t image_y = mirror_index(args.origins[2 * tile] + y, args.height);
    const int64_t image_x = mirror_index(args.origins[2 * tile + 1] + x, args.width);
    const In value = static_cast<const In*>(
        args.image)[image_y * args.image_stride_y + image_x * args.image_stride_x + c * args.image_stride_c];
    const float scale = args.scale ? args.scale[c] : 1.0f;
    const float offset = args.offset ? args.offset[c] : 0.0f;
    static_cast<Out*>(args.out)[i] = from_float<Out>(scale * to_float(value) + offset);
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* mirror_tiles_cuda(const MirrorTilesArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const int64_t values = args.tiles * args.tile_height * args.tile_width * args.channels;
  visit_image_type(args.image_dtype, [&](auto in) {
    visit_float_type(args.out_dtype, [&](auto out) {
      error =
          launch(mirror_tiles_kernel<decltype(in), decltype(out)>, grid_for(values, kBlock), kBlock, 0, stream, args);
    });
  });
  return error;
}

}  // namespace unet_fast
