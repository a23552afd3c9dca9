// Transforms of tiles. A tile that lies inside the image and whose channels fill the vector is read and written
// without a question; every other one pixel by pixel, lane by lane.
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// The side x side pixels from (y, x) on, and which of them lie in an image without its border. Every number is computed
// where it is needed: a copy of all would wait until what the tile before has stored is out of the way.
struct Patch {
  int64_t y, x;                            // maybe outside
  int64_t begin_y, end_y, begin_x, end_x;  // pixels of the patch inside
  int side;

  UNET_FAST_METHOD Patch(int64_t y, int64_t x, int side, int64_t height, int64_t width, int64_t border)
      : y(y),
        x(x),
        begin_y(larger(0, border - y)),
        end_y(smaller(side, height - border - y)),
        begin_x(larger(0, border - x)),
        end_x(smaller(side, width - border - x)),
        side(side) {}

  UNET_FAST_METHOD bool whole() const { return begin_y == 0 && begin_x == 0 && end_y == side && end_x == side; }
  UNET_FAST_METHOD bool holds(int64_t y, int64_t x) const {
    return y >= begin_y && y < end_y && x >= begin_x && x < end_x;
  }
};

// The patch of x under a tile, or of the gradient of y.
UNET_FAST_FUNCTION Patch patch_of(const TiledImages& images, const Tile& tile, int side) {
  return {kTileOut * tile.row - images.padding,
          kTileOut * tile.column - images.padding,
          side,
          images.height,
          images.width,
          0};
}

// The patch of y that a tile is.
UNET_FAST_FUNCTION Patch patch_of(const TiledOutput& out, const Tile& tile, int64_t border) {
  return {kTileOut * tile.row, kTileOut * tile.column, kTileOut, out.height, out.width, border};
}

// Floats from one row of stored pixels to the next.
UNET_FAST_FUNCTION int64_t row_stride_of(const TiledOutput& out) { return (out.width - 2 * out.crop) * out.channels; }

// Where the pixel (0, 0) of a patch would be stored, floats.
UNET_FAST_FUNCTION int64_t origin_of(const TiledOutput& out, const Tile& tile, const Patch& patch) {
  const int64_t row = tile.image * (out.height - 2 * out.crop) + patch.y - out.crop;
  return row * row_stride_of(out) + (patch.x - out.crop) * out.channels;
}

// use(read) with read(y, x) = lanes [first, first + lanes) of a pixel of the patch, 0 outside.
template <class Use>
UNET_FAST_FUNCTION void read_patch(const TiledImages& images, const Tile& tile, const Patch& patch, int64_t first,
                                   int64_t lanes, const Use& use) {
  const int64_t row_stride = images.row_stride, pixel_stride = images.channels;
  const int64_t origin = tile.image * images.image_stride + patch.y * row_stride + patch.x * pixel_stride + first;
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
UNET_FAST_FUNCTION void pool_tile(const TiledOutput& out, const Tile& tile, const Patch& patch,
                                  const Vector (&y)[kTileOut][kTileOut], int64_t first, int64_t lanes) {
  const int64_t height = out.height / 2, width = out.width / 2;
#pragma GCC unroll 2
  for (int row = 0; row < kTileOut; row += 2) {
#pragma GCC unroll 2
    for (int x = 0; x < kTileOut; x += 2) {
      if (!patch.holds(row, x)) continue;
      const Vector best =
          later_maximum(later_maximum(later_maximum(y[row][x], y[row][x + 1]), y[row + 1][x]), y[row + 1][x + 1]);
      const int64_t pixel = (tile.image * height + (patch.y + row) / 2) * width + (patch.x + x) / 2;
      store_lanes(out.pooled + pixel * out.channels + first, best, lanes);
    }
  }
}

// (B^T d B)[p] of a vector of channels. A function of its own: in the loop over the channels the addresses of 36 points
// would be kept in memory, and read, from vector to vector.
__attribute__((noinline)) void transform_pixels(const float* x, int64_t row_stride, int64_t pixel_stride, float* v,
                                                int64_t plane) {
  transform_twice<transform_input, kTileIn, kTileIn>(
      [&](int row, int column) { return load(x + row * row_stride + column * pixel_stride); },
      [&](int row, int column, Vector value) { store(v + (row * kTileIn + column) * plane, value); });
}

// y of a vector of outputs, likewise. A pass computes the rows `pass` and `pass` + 2, which share sums or differences:
// it stays in registers, and for that reads again what the other one has read.
template <bool kStreams>
__attribute__((noinline)) void transform_points(const float* m, int64_t plane, Vector bias, Vector floor, float* y,
                                                int64_t row_stride, int64_t pixel_stride) {
#pragma GCC unroll 2
  for (int pass = 0; pass < 2; ++pass) {
    Vector rows[2][kTileIn];
#pragma GCC unroll 6
    for (int x = 0; x < kTileIn; ++x) {
      Vector column[kTileIn], transformed[kTileOut];
#pragma GCC unroll 6
      for (int i = 0; i < kTileIn; ++i) column[i] = load(m + (i * kTileIn + x) * plane);
      transform_output(column, transformed);
      rows[0][x] = transformed[pass], rows[1][x] = transformed[pass + 2];
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      Vector row[kTileOut];
      transform_output(rows[i], row);
#pragma GCC unroll 4
      for (int x = 0; x < kTileOut; ++x) {
        float* const pixel = y + (pass + 2 * i) * row_stride + x * pixel_stride;
        const Vector value = greater_of(floor, row[x] + bias);
        kStreams ? stream(pixel, value) : store(pixel, value);
      }
    }
  }
}

}  // namespace

void transform_input_tile(const TiledImages& images, const Tile& tile, float* v, int64_t plane, int64_t panel) {
  const Patch patch = patch_of(images, tile, kTileIn);
  const int64_t origin = tile.image * images.image_stride + patch.y * images.row_stride + patch.x * images.channels;
  for (int64_t c = 0; c < padded_channels(images.channels); c += kLanes) {
    float* const to = v + c / kPanel * panel + c % kPanel;
    const int64_t lanes = larger(0, smaller(images.channels - c, kLanes));
    if (patch.whole() && lanes == kLanes && !images.gate) {
      transform_pixels(images.data + origin + c, images.row_stride, images.channels, to, plane);
      continue;
    }
    Vector pixels[kTileIn][kTileIn];
    read_patch(images, tile, patch, c, lanes, [&](const auto& read) {
      for (int y = 0; y < kTileIn; ++y) {
        for (int x = 0; x < kTileIn; ++x) pixels[y][x] = read(y, x);
      }
    });
    transform_pixels(reinterpret_cast<const float*>(pixels), kTileIn * kLanes, kLanes, to, plane);
  }
}

void transform_input_tile(const TiledImages (&sources)[2], const Tile& tile, float* v, int64_t plane, int64_t panel) {
  transform_input_tile(sources[0], tile, v, plane, panel);
  if (sources[1].channels == 0) return;
  transform_input_tile(sources[1], tile, v + padded_channels(sources[0].channels) / kPanel * panel, plane, panel);
}

void transform_gradient_tile(const TiledImages& grad, const Tile& tile, const LaneBlock& block, float* to,
                             int64_t plane, float* output_sum) {
  const Patch patch = patch_of(grad, tile, kTileOut);
  for (int64_t lane = 0; lane < block.count; lane += kLanes) {
    const int64_t lanes = smaller(block.count - lane, kLanes);
    read_patch(grad, tile, patch, block.first + lane, lanes, [&](const auto& read) {
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

void expect_output_tile(const TiledOutput& out, const Tile& tile, const LaneBlock& block) {
  constexpr int64_t kLineFloats = 16;
  const Patch stored = patch_of(out, tile, out.crop);
  const float* const data = out.data + origin_of(out, tile, stored) + block.first;
  for (int64_t y = stored.begin_y; y < stored.end_y; ++y) {
    for (int64_t x = stored.begin_x; x < stored.end_x; ++x) {
      const float* const pixel = data + y * row_stride_of(out) + x * out.channels;
      for (int64_t lane = 0; lane < block.count; lane += kLineFloats) __builtin_prefetch(pixel + lane, 1, 2);
    }
  }
}

void transform_output_tile(const TiledOutput& out, const Tile& tile, const LaneBlock& block, const float* m,
                           int64_t plane) {
  const Patch patch = patch_of(out, tile, 0), stored = patch_of(out, tile, out.crop);
  const int64_t pixel_stride = out.channels, row_stride = row_stride_of(out);
  const int64_t origin = origin_of(out, tile, stored) + block.first;
  const Vector floor = (out.relu ? 0 : -__builtin_inff()) - Vector{};
  for (int64_t lane = 0; lane < block.count; lane += kLanes) {
    const int64_t first = block.first + lane, lanes = smaller(block.count - lane, kLanes);
    const Vector bias = out.bias ? load_lanes(out.bias + block.offset + first, lanes) : Vector{};
    float* const data = out.data + origin + lane;
    const float* const mask = out.mask ? out.mask + origin + lane : nullptr;
    const bool whole = stored.whole() && lanes == kLanes;
    if (whole && !mask && !out.pooled) {
      const auto run = out.streams ? transform_points<true> : transform_points<false>;
      run(m + lane, plane, bias, floor, data, row_stride, pixel_stride);
      continue;
    }
    Vector y[kTileOut][kTileOut];
    transform_points<false>(m + lane, plane, bias, floor, reinterpret_cast<float*>(y), kTileOut * kLanes, kLanes);
    if (out.pooled) pool_tile(out, tile, patch, y, first, lanes);
    if (whole) {
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
