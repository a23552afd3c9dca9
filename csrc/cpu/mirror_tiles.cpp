// mirror_tiles on the CPU: one task per row of a tile. A row is the image row it mirrors to, in three pieces:
// the part left of the image, the part inside (a straight copy) and the part right of it.
#include "cpu/kernels.h"

#include "core/mirror.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

template <class In, class Out>
struct RowWriter {
  const MirrorTilesArgs& args;

  UNET_FAST_METHOD void pixel(const In* row, int64_t image_x, Out* out) const {
    for (int64_t c = 0; c < args.channels; ++c) {
      const float value = to_float(row[image_x * args.image_stride_x + c * args.image_stride_c]);
      const float scale = args.scale ? args.scale[c] : 1.0f;
      const float offset = args.offset ? args.offset[c] : 0.0f;
      out[c] = from_float<Out>(scale * value + offset);
    }
  }

  void operator()(int64_t tile, int64_t y) const {
    const int64_t origin_y = args.origins[2 * tile], origin_x = args.origins[2 * tile + 1];
    const In* row = static_cast<const In*>(args.image) + mirror_index(origin_y + y, args.height) * args.image_stride_y;
    Out* out = static_cast<Out*>(args.out) + (tile * args.tile_height + y) * args.tile_width * args.channels;
    const int64_t inside_begin = clamp(-origin_x), inside_end = clamp(args.width - origin_x);
    for (int64_t x = 0; x < inside_begin; ++x) {
      pixel(row, mirror_index(origin_x + x, args.width), out + x * args.channels);
    }
    for (int64_t x = inside_begin; x < inside_end; ++x) pixel(row, origin_x + x, out + x * args.channels);
    for (int64_t x = inside_end > inside_begin ? inside_end : inside_begin; x < args.tile_width; ++x) {
      pixel(row, mirror_index(origin_x + x, args.width), out + x * args.channels);
    }
  }

  UNET_FAST_METHOD int64_t clamp(int64_t x) const { return x < 0 ? 0 : x > args.tile_width ? args.tile_width : x; }
};

}  // namespace

void mirror_tiles(const MirrorTilesArgs& args, const Threads& threads) {
  constexpr int64_t kRowsPerTask = 16;
  visit_image_type(args.image_dtype, [&](auto in) {
    visit_float_type(args.out_dtype, [&](auto out) {
      const RowWriter<decltype(in), decltype(out)> write_row{args};
      parallel_for(threads, args.tiles * args.tile_height, kRowsPerTask, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) write_row(row / args.tile_height, row % args.tile_height);
      });
    });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
