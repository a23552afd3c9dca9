// stitch_tiles against a plain loop: the tiles copied one after the other, pixel by pixel.
#include "ops/stitch_tiles.h"

#include "check.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t tiles, planes, tile_height, tile_width, height, width;
};

template <class T>
void equals_plain_loop(const Shape& s, int64_t stride_x) {
  Random random;
  const int64_t stride_y = s.tile_width * stride_x + 1, stride_k = s.tile_height * stride_y + 2;
  const int64_t stride_t = s.planes * stride_k;
  const Buffer<T> tiles(s.tiles * stride_t, [&](int64_t) { return static_cast<T>(random.integer(1, 100)); });
  const Buffer<int64_t> origins(2 * s.tiles, [&](int64_t i) {
    return random.integer(i % 2 ? -s.tile_width : -s.tile_height, i % 2 ? s.width : s.height);
  });
  Buffer<T> expected(s.planes * s.height * s.width, [](int64_t) { return T{}; });
  for (int64_t t = 0; t < s.tiles; ++t) {
    for (int64_t i = 0; i < s.planes * s.tile_height * s.tile_width; ++i) {
      const int64_t tile_x = i % s.tile_width, tile_y = i / s.tile_width % s.tile_height;
      const int64_t k = i / s.tile_width / s.tile_height;
      const int64_t y = origins[2 * t] + tile_y, x = origins[2 * t + 1] + tile_x;
      if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
      expected[(k * s.height + y) * s.width + x] =
          tiles[t * stride_t + k * stride_k + tile_y * stride_y + tile_x * stride_x];
    }
  }

  on_every_device(stitch_tiles_cpu, stitch_tiles_cuda, [&](const Device<StitchTilesArgs>& device) {
    Buffer<T> out(s.planes * s.height * s.width, [&](int64_t) { return T(device.cuda ? 0 : 7); });
    Buffer<int64_t> covered_by(s.tiles);
    device.run({
        .tiles = tiles.data(),
        .dtype = dtype_of<T>(),
        .tile_count = s.tiles,
        .planes = s.planes,
        .tile_height = s.tile_height,
        .tile_width = s.tile_width,
        .tile_stride_t = stride_t,
        .tile_stride_k = stride_k,
        .tile_stride_y = stride_y,
        .tile_stride_x = stride_x,
        .origins = origins.data(),
        .out = out.data(),
        .height = s.height,
        .width = s.width,
        .covered_by = device.cuda ? covered_by.data() : nullptr,
    });
    check(out == expected, text(device.name, ", ", s.tiles, " tiles of ", s.tile_height, " x ", s.tile_width));
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  const Shape shapes[] = {{1, 1, 1, 1, 1, 1}, {3, 2, 5, 7, 12, 9}, {9, 1, 30, 128, 70, 300}, {200, 1, 3, 130, 90, 140},
                          {0, 2, 4, 4, 8, 8}, {3, 0, 4, 4, 8, 8},  {2, 2, 4, 4, 0, 8},       {4, 3, 70, 20, 80, 25}};
  for (const Shape& shape : shapes) {
    equals_plain_loop<uint8_t>(shape, 1);
    equals_plain_loop<uint16_t>(shape, 3);
    equals_plain_loop<float>(shape, 1);
    equals_plain_loop<int64_t>(shape, 2);
  }
  return report();
}
