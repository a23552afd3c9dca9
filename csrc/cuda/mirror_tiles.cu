// mirror_tiles on CUDA: one thread per 16 bytes of the output, in NHWC order, so that neighbours write neighbours. Most
// threads find their values side by side in a row inside the image; the others go from value to value. Least: the
// output is written once, and each pixel of the image read once.
#include "ops/mirror_tiles.h"

#include "core/mirror.h"
#include "cuda/vector.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256;

// Value (y, x, c) of a tile.
struct Place {
  int64_t tile;
  int y, x, c;
};

__device__ __forceinline__ Place place_of(const MirrorTilesArgs& args, int64_t i) {
  const int64_t row_values = args.tile_width * args.channels, row = i / row_values, tile = row / args.tile_height;
  const int in_row = static_cast<int>(i - row * row_values), channels = static_cast<int>(args.channels);
  return {tile, static_cast<int>(row - tile * args.tile_height), in_row / channels, in_row % channels};
}

__device__ __forceinline__ Place next_of(const MirrorTilesArgs& args, Place place) {
  if (++place.c < args.channels) return place;
  place.c = 0;
  if (++place.x < args.tile_width) return place;
  place.x = 0;
  if (++place.y < args.tile_height) return place;
  place.y = 0, ++place.tile;
  return place;
}

template <class In, class Out, int kCount>
__global__ void __launch_bounds__(kBlock) mirror_tiles_kernel(MirrorTilesArgs args) {
  const int64_t vectors = args.tiles * args.tile_height * args.tile_width * args.channels / kCount;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock;
  const In* image = static_cast<const In*>(args.image);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < vectors; i += step) {
    Place place = place_of(args, i * kCount);
    const int64_t y = args.origins[2 * place.tile] + place.y, x = args.origins[2 * place.tile + 1] + place.x;
    const bool is_plain = args.channels == 1 && place.x + kCount <= args.tile_width && y >= 0 && y < args.height &&
                          x >= 0 && x + kCount <= args.width;
    float value[kCount];
    if (is_plain) {
      const In* from = image + y * args.image_stride_y + x * args.image_stride_x;
      const float scale = args.scale ? *args.scale : 1.0f, offset = args.offset ? *args.offset : 0.0f;
#pragma unroll
      for (int k = 0; k < kCount; ++k) value[k] = scale * to_float(from[k * args.image_stride_x]) + offset;
    } else {
#pragma unroll
      for (int k = 0; k < kCount; ++k) {
        const int64_t image_y = mirror_index(args.origins[2 * place.tile] + place.y, args.height);
        const int64_t image_x = mirror_index(args.origins[2 * place.tile + 1] + place.x, args.width);
        const float scale = args.scale ? args.scale[place.c] : 1.0f;
        const float offset = args.offset ? args.offset[place.c] : 0.0f;
        const In* from = image + image_y * args.image_stride_y + image_x * args.image_stride_x;
        value[k] = scale * to_float(from[place.c * args.image_stride_c]) + offset;
        place = next_of(args, place);
      }
    }
    store_values(static_cast<Out*>(args.out) + i * kCount, value);
  }
}

template <class In, class Out, int kCount>
const char* launch_vectors(const MirrorTilesArgs& args, int64_t values, const Stream& stream) {
  return launch(mirror_tiles_kernel<In, Out, kCount>, grid_for(values / kCount, kBlock), kBlock, 0, stream, args);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* mirror_tiles_cuda(const MirrorTilesArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const int64_t values = args.tiles * args.tile_height * args.tile_width * args.channels;
  visit_image_type(args.image_dtype, [&](auto in) {
    visit_float_type(args.out_dtype, [&](auto out) {
      using In = decltype(in);
      using Out = decltype(out);
      error = are_vectors<Out>(values, {args.out}) ? launch_vectors<In, Out, kVector<Out>>(args, values, stream)
                                                   : launch_vectors<In, Out, 1>(args, values, stream);
    });
  });
  return error;
}

}  // namespace unet_fast
