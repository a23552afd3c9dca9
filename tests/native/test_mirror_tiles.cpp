// mirror_tiles against a plain loop: numpy's "reflect" of one pixel at a time.
#include "ops/mirror_tiles.h"

#include "check.h"

namespace unet_fast::test {
namespace {

struct Shape {
  int64_t channels, height, width, tiles, tile_height, tile_width;
};

// Walks from the image's first pixel, turning round at both ends.
int64_t reflected(int64_t index, int64_t size) {
  int64_t position = 0, direction = 1;
  for (int64_t step = 0; step < std::abs(index) && size > 1; ++step) {
    if (position + direction < 0 || position + direction >= size) direction = -direction;
    position += direction;
  }
  return position;
}

template <class In, class Out>
void equals_plain_loop(const Shape& shape, int64_t stride_x, bool normalise) {
  Random random;
  const int64_t stride_y = shape.width * stride_x + (stride_x - 1), stride_c = shape.height * stride_y + 3 * stride_x;
  const int64_t last = (shape.channels - 1) * stride_c + (shape.height - 1) * stride_y + (shape.width - 1) * stride_x;
  const Buffer<In> image(last + 1, [&](int64_t) { return from_float<In>(random.uniform(0, 200)); });
  const Buffer<int64_t> origins(2 * shape.tiles, [&](int64_t) { return random.integer(-60, 60); });
  const Buffer<float> scale(shape.channels, [&](int64_t) { return random.uniform(-2, 2); });
  const Buffer<float> offset(shape.channels, [&](int64_t) { return random.uniform(-9, 9); });
  const int64_t values = shape.tiles * shape.tile_height * shape.tile_width * shape.channels;
  const Buffer<double> expected(values, [&](int64_t i) {
    const int64_t c = i % shape.channels, x = i / shape.channels % shape.tile_width;
    const int64_t row = i / shape.channels / shape.tile_width, y = row % shape.tile_height, t = row / shape.tile_height;
    const int64_t image_y = reflected(origins[2 * t] + y, shape.height);
    const int64_t image_x = reflected(origins[2 * t + 1] + x, shape.width);
    const double value = to_double(image[c * stride_c + image_y * stride_y + image_x * stride_x]);
    return normalise ? scale[c] * value + offset[c] : value;
  });
  // One rounding to bfloat16 (8 bits) or two to float32 (24 bits) of values up to 409.
  const double relative = std::is_same_v<Out, BFloat16> ? 1.0 / 256 : 0, absolute = normalise ? 1e-4 : 0;

  on_every_device(mirror_tiles_cpu, mirror_tiles_cuda, [&](const Device<MirrorTilesArgs>& device) {
    Buffer<Out> out(values);
    device.run({
        .image = image.data(),
        .image_dtype = dtype_of<In>(),
        .channels = shape.channels,
        .height = shape.height,
        .width = shape.width,
        .image_stride_c = stride_c,
        .image_stride_y = stride_y,
        .image_stride_x = stride_x,
        .scale = normalise ? scale.data() : nullptr,
        .offset = normalise ? offset.data() : nullptr,
        .origins = origins.data(),
        .tiles = shape.tiles,
        .out = out.data(),
        .out_dtype = dtype_of<Out>(),
        .tile_height = shape.tile_height,
        .tile_width = shape.tile_width,
    });
    check_all_close(out, expected, relative, absolute,
                    text(device.name, ", image ", shape.height, " x ", shape.width, ", tile ", shape.tile_height, " x ",
                         shape.tile_width));
  });
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast;
  using namespace unet_fast::test;
  const Shape shapes[] = {{1, 1, 1, 2, 3, 5},    {1, 1, 7, 1, 4, 16},    {2, 9, 1, 3, 17, 2}, {3, 31, 33, 4, 15, 17},
                          {1, 64, 65, 2, 16, 1}, {2, 40, 17, 2, 33, 61}, {1, 5, 5, 0, 16, 16}};
  for (const Shape& shape : shapes) {
    for (const bool normalise : {false, true}) {
      equals_plain_loop<uint8_t, float>(shape, 1, normalise);
      equals_plain_loop<uint16_t, float>(shape, 1, normalise);
      equals_plain_loop<BFloat16, float>(shape, 3, normalise);
      equals_plain_loop<float, float>(shape, 2, normalise);
      equals_plain_loop<uint8_t, BFloat16>(shape, 1, normalise);
      equals_plain_loop<float, BFloat16>(shape, 1, normalise);
    }
  }
  return report();
}
