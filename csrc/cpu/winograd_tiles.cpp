// Transforms of tiles. A tile that lies inside the image and whose channels fill the vector is read and written
// without a question; every other one pixel by pixel, lane by lane.
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// The side x side pixels under a tile, as far as they lie inside the image.
struct Patch {
  int64_t origin;  // element of the pixel (0, 0) of the patch, maybe outside
  int64_t row_stride, pixel_stride;
  int64_t begin_y, end_y, begin_x, end_x;  // pixels of the patch inside the image
  int side;

  Patch(const TileGrid& grid, int64_t tile, int64_t height, int64_t width, int64_t channels, int64_t padding, int side)
      : row_stride(width * channels), pixel_stride(channels), side(side) {
    const int64_t column = tile % grid.columns, row = tile / grid.columns % grid.rows;
    const int64_t image = tile / grid.columns / grid.rows;
    const int64_t y = kTileOut * row - padding, x = kTileOut * column - padding;
    origin = ((image * height + y) * width + x) * channels;
    begin_y = larger(0, -y), end_y = smaller(side, height - y);
    begin_x = larger(0, -x), end_x = smaller(side, width - x);
  }

  UNET_FAST_METHOD bool whole() const { return begin_y == 0 && begin_x == 0 && end_y == side && end_x == side; }
  UNET_FAST_METHOD bool holds(int y, int x) const { return y >= begin_y && y < end_y && x >= begin_x && x < end_x; }
  UNET_FAST_METHOD int64_t at(int y, int x) const { return origin + y * row_stride + x * pixel_stride; }
};

UNET_FAST_FUNCTION Vector gated(Vector value, Vector gate) { return gate <= Vector{} ? Vector{} : value; }

// use(read) with read(y, x) = lanes [first, first + lanes) of a pixel of the patch, 0 outside.
template <class Use>
UNET_FAST_FUNCTION void read_patch(const TiledImages& images, const Patch& patch, int64_t first, int64_t lanes,
                                   const Use& use) {
  if (patch.whole() && lanes == kLanes) {
    const float* data = images.data + patch.origin + first;
    if (!images.gate) {
      use([&](int y, int x) { return load(data + y * patch.row_stride + x * patch.pixel_stride); });
      return;
    }
    const float* gate = images.gate + patch.origin + first;
    use([&](int y, int x) {
      const int64_t offset = y * patch.row_stride + x * patch.pixel_stride;
      return gated(load(data + offset), load(gate + offset));
    });
    return;
  }
  use([&](int y, int x) {
    if (!patch.holds(y, x)) return Vector{};
    const int64_t offset = patch.at(y, x) + first;
    const Vector value = load_lanes(images.data + offset, lanes);
    return images.gate ? gated(value, load_lanes(images.gate + offset, lanes)) : value;
  });
}

}  // namespace

void transform_input_tile(const TiledImages& images, int64_t tile, float* v, int64_t plane, int64_t panel) {
  const Patch patch(images.grid, tile, images.height, images.width, images.channels, images.padding, kTileIn);
  for (int64_t c = 0; c < padded_channels(images.channels); c += kLanes) {
    float* const to = v + c / kPanel * panel + c % kPanel;
    const int64_t lanes = larger(0, smaller(images.channels - c, kLanes));
    read_patch(images, patch, c, lanes, [&](const auto& read) {
      transform_twice<transform_input, kTileIn, kTileIn>(
          read, [&](int y, int x, Vector value) { store(to + (y * kTileIn + x) * plane, value); });
    });
  }
}

void transform_gradient_tile(const TiledImages& grad, int64_t tile, const LaneBlock& block, float* to, int64_t plane,
                             float* output_sum) {
  const Patch patch(grad.grid, tile, grad.height, grad.width, grad.channels, 0, kTileOut);
  for (int64_t lane = 0; lane < block.count; lane += kLanes) {
    read_patch(grad, patch, block.first + lane, smaller(block.count - lane, kLanes), [&](const auto& read) {
      Vector sum = load(output_sum + lane);
      transform_twice<transform_gradient, kTileOut, kTileIn>(
          [&](int y, int x) {
            const Vector value = read(y, x);
            sum += value;
            return value;
          },
          [&](int y, int x, Vector value) { store(to + (y * kTileIn + x) * plane + lane, value); });
      store(output_sum + lane, sum);
    });
  }
}

void transform_output_tile(const TiledOutput& out, int64_t tile, const LaneBlock& block, const float* m,
                           int64_t plane) {
  const Patch patch(out.grid, tile, out.height, out.width, out.channels, 0, kTileOut);
  for (int64_t lane = 0; lane < block.count; lane += kLanes) {
    const int64_t first = block.first + lane, lanes = smaller(block.count - lane, kLanes);
    const Vector bias = out.bias ? load_lanes(out.bias + first, lanes) : Vector{};
    Vector y[kTileOut][kTileOut];
    transform_twice<transform_output, kTileIn, kTileOut>(
        [&](int row, int x) { return load(m + (row * kTileIn + x) * plane + lane); },
        [&](int row, int x, Vector value) {
          value += bias;
          y[row][x] = out.relu ? rectify(value) : value;
        });
    float* data = out.data + patch.origin + first;
    if (patch.whole() && lanes == kLanes) {
#pragma GCC unroll 4
      for (int row = 0; row < kTileOut; ++row) {
#pragma GCC unroll 4
        for (int x = 0; x < kTileOut; ++x) store(data + row * patch.row_stride + x * patch.pixel_stride, y[row][x]);
      }
      continue;
    }
    for (int row = 0; row < patch.end_y; ++row) {
      for (int x = 0; x < patch.end_x; ++x) {
        store_lanes(data + row * patch.row_stride + x * patch.pixel_stride, y[row][x], lanes);
      }
    }
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
