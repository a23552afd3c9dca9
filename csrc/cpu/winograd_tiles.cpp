// Transforms of tiles. A tile that lies inside the image and whose channels fill the vector is read and written
// without a question; every other one pixel by pixel, lane by lane.
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// The side x side pixels under a tile, and which of them lie inside the image.
struct Patch {
  int64_t image, y, x;                     // of the pixel (0, 0) of the patch, maybe outside
  int64_t begin_y, end_y, begin_x, end_x;  // pixels of the patch inside the image
  int side;

  Patch(const TileGrid& grid, int64_t tile, int64_t height, int64_t width, int64_t padding, int side) : side(side) {
    const int64_t column = tile % grid.columns, row = tile / grid.columns % grid.rows;
    image = tile / grid.columns / grid.rows;
    y = kTileOut * row - padding, x = kTileOut * column - padding;
    begin_y = larger(0, -y), end_y = smaller(side, height - y);
    begin_x = larger(0, -x), end_x = smaller(side, width - x);
  }

  UNET_FAST_METHOD bool whole() const { return begin_y == 0 && begin_x == 0 && end_y == side && end_x == side; }
  UNET_FAST_METHOD bool holds(int64_t y, int64_t x) const {
    return y >= begin_y && y < end_y && x >= begin_x && x < end_x;
  }
  // Without the pixels that lie less than `margin` from the edge of the image.
  UNET_FAST_METHOD Patch without(int64_t margin, int64_t height, int64_t width) const {
    Patch inner = *this;
    inner.begin_y = larger(begin_y, margin - y), inner.end_y = smaller(end_y, height - margin - y);
    inner.begin_x = larger(begin_x, margin - x), inner.end_x = smaller(end_x, width - margin - x);
    return inner;
  }
};

// The pixels of a tile of the result that are stored, and where the pixel (0, 0) of the tile would be.
struct StoredPatch : Patch {
  int64_t origin, row_stride;  // floats

  StoredPatch(const TiledOutput& out, const Patch& patch)
      : Patch(patch.without(out.crop, out.height, out.width)), row_stride((out.width - 2 * out.crop) * out.channels) {
    origin = (image * (out.height - 2 * out.crop) + y - out.crop) * row_stride + (x - out.crop) * out.channels;
  }
};

// use(read) with read(y, x) = lanes [first, first + lanes) of a pixel of the patch, 0 outside.
template <class Use>
UNET_FAST_FUNCTION void read_patch(const TiledImages& images, const Patch& patch, int64_t first, int64_t lanes,
                                   const Use& use) {
  const int64_t row_stride = images.row_stride, pixel_stride = images.channels;
  const int64_t origin = patch.image * images.image_stride + patch.y * row_stride + patch.x * pixel_stride + first;
  if (patch.whole() && lanes == kLanes) {
    const float* data = images.data + origin;
    if (!images.gate) {
      use([&](int y, int x) { return load(data + y * row_stride + x * pixel_stride); });
      return;
    }
    const float* gate = images.gate + origin;
    use([&](int y, int x) {
      const int64_t offset = y * row_stride + x * pixel_stride;
      return gated(load(data + offset), load(gate + offset));
    });
    return;
  }
  use([&](int y, int x) {
    if (!patch.holds(y, x)) return Vector{};
    const int64_t offset = origin + y * row_stride + x * pixel_stride;
    const Vector value = load_lanes(images.data + offset, lanes);
    return images.gate ? gated(value, load_lanes(images.gate + offset, lanes)) : value;
  });
}

// The maxima of the 2 x 2 pixels of a tile; the image has whole ones only.
UNET_FAST_FUNCTION void pool_tile(const TiledOutput& out, const Patch& patch, const Vector (&y)[kTileOut][kTileOut],
                                  int64_t first, int64_t lanes) {
  const int64_t height = out.height / 2, width = out.width / 2;
#pragma GCC unroll 2
  for (int row = 0; row < kTileOut; row += 2) {
#pragma GCC unroll 2
    for (int x = 0; x < kTileOut; x += 2) {
      if (!patch.holds(row, x)) continue;
      const Vector best =
          later_maximum(later_maximum(later_maximum(y[row][x], y[row][x + 1]), y[row + 1][x]), y[row + 1][x + 1]);
      const int64_t pixel = (patch.image * height + (patch.y + row) / 2) * width + (patch.x + x) / 2;
      store_lanes(out.pooled + pixel * out.channels + first, best, lanes);
    }
  }
}

}  // namespace

void transform_input_tile(const TiledImages& images, int64_t tile, float* v, int64_t plane, int64_t panel) {
  const Patch patch(images.grid, tile, images.height, images.width, images.padding, kTileIn);
  for (int64_t c = 0; c < padded_channels(images.channels); c += kLanes) {
    float* const to = v + c / kPanel * panel + c % kPanel;
    const int64_t lanes = larger(0, smaller(images.channels - c, kLanes));
    read_patch(images, patch, c, lanes, [&](const auto& read) {
      transform_twice<transform_input, kTileIn, kTileIn>(
          read, [&](int y, int x, Vector value) { store(to + (y * kTileIn + x) * plane, value); });
    });
  }
}

void transform_input_tile(const TiledImages (&sources)[2], int64_t tile, float* v, int64_t plane, int64_t panel) {
  transform_input_tile(sources[0], tile, v, plane, panel);
  if (sources[1].channels == 0) return;
  transform_input_tile(sources[1], tile, v + padded_channels(sources[0].channels) / kPanel * panel, plane, panel);
}

void transform_gradient_tile(const TiledImages& grad, int64_t tile, const LaneBlock& block, float* to, int64_t plane,
                             float* output_sum) {
  const Patch patch(grad.grid, tile, grad.height, grad.width, 0, kTileOut);
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

void expect_output_tile(const TiledOutput& out, int64_t tile, const LaneBlock& block) {
  constexpr int64_t kLineFloats = 16;
  const StoredPatch stored(out, Patch(out.grid, tile, out.height, out.width, 0, kTileOut));
  for (int64_t y = stored.begin_y; y < stored.end_y; ++y) {
    for (int64_t x = stored.begin_x; x < stored.end_x; ++x) {
      const float* const pixel = out.data + stored.origin + y * stored.row_stride + x * out.channels + block.first;
      for (int64_t lane = 0; lane < block.count; lane += kLineFloats) __builtin_prefetch(pixel + lane, 1, 2);
    }
  }
}

void transform_output_tile(const TiledOutput& out, int64_t tile, const LaneBlock& block, const float* m,
                           int64_t plane) {
  const Patch patch(out.grid, tile, out.height, out.width, 0, kTileOut);
  const StoredPatch stored(out, patch);
  const int64_t pixel_stride = out.channels, row_stride = stored.row_stride;
  for (int64_t lane = 0; lane < block.count; lane += kLanes) {
    const int64_t first = block.first + lane, lanes = smaller(block.count - lane, kLanes);
    const Vector bias = out.bias ? load_lanes(out.bias + block.offset + first, lanes) : Vector{};
    Vector y[kTileOut][kTileOut];
    transform_twice<transform_output, kTileIn, kTileOut>(
        [&](int row, int x) { return load(m + (row * kTileIn + x) * plane + lane); },
        [&](int row, int x, Vector value) {
          value += bias;
          y[row][x] = out.relu ? rectify(value) : value;
        });
    if (out.pooled) pool_tile(out, patch, y, first, lanes);
    float* const data = out.data + stored.origin + first;
    const float* const mask = out.mask ? out.mask + stored.origin + first : nullptr;
    if (stored.whole() && lanes == kLanes) {
#pragma GCC unroll 4
      for (int row = 0; row < kTileOut; ++row) {
#pragma GCC unroll 4
        for (int x = 0; x < kTileOut; ++x) {
          const int64_t offset = row * row_stride + x * pixel_stride;
          const Vector value = mask ? gated(y[row][x], load(mask + offset)) : y[row][x];
          out.streams ? stream(data + offset, value) : store(data + offset, value);
        }
      }
      continue;
    }
    for (int64_t row = stored.begin_y; row < stored.end_y; ++row) {
      for (int64_t x = stored.begin_x; x < stored.end_x; ++x) {
        const int64_t offset = row * row_stride + x * pixel_stride;
        const Vector value = mask ? gated(y[row][x], load_lanes(mask + offset, lanes)) : y[row][x];
        store_lanes(data + offset, value, lanes);
      }
    }
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
