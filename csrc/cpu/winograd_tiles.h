// The parts of Winograd's convolution that know where pixels and weights lie: transforms of one tile or of a run of
// weights, from NHWC images into the planes of the 36 points and back.
#pragma once

#include "cpu/row_blocks.h"
#include "cpu/winograd_matrices.h"

namespace unet_fast::UNET_FAST_ISA {

// `floats`, padded to an odd number of cache lines.
UNET_FAST_FUNCTION int64_t plane_floats(int64_t floats) { return (divide_up(floats, 16) | 1) * 16; }

UNET_FAST_FUNCTION int64_t padded_channels(int64_t channels) { return divide_up(channels, kPanel) * kPanel; }

struct Tile {
  int64_t image, row, column;  // of the grid
};

// Tiles of 4 x 4 output pixels, row by row through all images; those at the lower and the right edge may be cut.
struct TileGrid {
  int64_t images, rows, columns;
  TileGrid(int64_t images, int64_t out_height, int64_t out_width)
      : images(images), rows(divide_up(out_height, kTileOut)), columns(divide_up(out_width, kTileOut)) {}
  UNET_FAST_METHOD int64_t count() const { return images * rows * columns; }
  UNET_FAST_METHOD Tile tile(int64_t index) const {
    return {index / columns / rows, index / columns % rows, index % columns};
  }
  // visit(t, tile) for tiles first + t, t < tiles: divides once, which takes as long as many a thing done to a tile.
  template <class Visit>
  UNET_FAST_METHOD void visit(int64_t first, int64_t tiles, const Visit& visit) const {
    Tile at = tile(first);
    for (int64_t t = 0; t < tiles; ++t) {
      visit(t, at);
      if (++at.column < columns) continue;
      at.column = 0;
      if (++at.row < rows) continue;
      at.row = 0, ++at.image;
    }
  }
};

// A batch of images under the grid.
struct TiledImages {
  const float* data;     // [N, H, W, C], pixels dense
  const float* gate;     // likewise or null: data reads as 0 where gate <= 0 (the gradient of ReLU)
  int64_t height;        // H, pixels
  int64_t width;         // W, pixels
  int64_t channels;      // C; 0: no images at all
  int64_t row_stride;    // elements
  int64_t image_stride;  // elements
  int64_t padding;       // pixels of zeros around; tile (0, 0) begins at pixel (-padding, -padding)
  TileGrid grid;
};

// x of an operator's arguments.
template <class Args>
UNET_FAST_FUNCTION TiledImages source_of(const Args& args, const void* gate, int64_t padding, const TileGrid& grid) {
  return {.data = static_cast<const float*>(args.x),
          .gate = static_cast<const float*>(gate),
          .height = args.height,
          .width = args.width,
          .channels = args.in_channels,
          .row_stride = args.width * args.in_channels,
          .image_stride = args.height * args.width * args.in_channels,
          .padding = padding,
          .grid = grid};
}

// Its second source.
template <class Args>
UNET_FAST_FUNCTION TiledImages skip_of(const Args& args, int64_t padding, const TileGrid& grid) {
  return {.data = static_cast<const float*>(args.skip.data),
          .gate = nullptr,
          .height = args.height,
          .width = args.width,
          .channels = args.skip.channels,
          .row_stride = args.skip.row_stride,
          .image_stride = args.skip.image_stride,
          .padding = padding,
          .grid = grid};
}

struct TiledOutput {
  float* data;        // [N, H - 2 crop, W - 2 crop, O] dense
  float* pooled;      // [N, H / 2, W / 2, O] dense or null: the maximum of 2 x 2 pixels
  int64_t height;     // H, pixels
  int64_t width;      // W, pixels
  int64_t channels;   // O; 0: no output at all
  int64_t crop;       // pixels along each edge that are computed, and not stored in data
  const float* bias;  // [O] or null (0)
  bool relu;
  const float* mask;  // likewise as data, or null: data is stored as 0 where mask <= 0; not with crop
  bool streams;       // data is too large to be found in a cache by whoever reads it next: stores go past the caches
  TileGrid grid;
};

// (B^T d B)[p][c] of a tile for all channels, at v[p * plane + c / kPanel * panel + c % kPanel]; the channels that pad
// the last panel are 0.
void transform_input_tile(const TiledImages& images, const Tile& tile, float* v, int64_t plane, int64_t panel);

// The same for two sources; the panels of the second one follow those of the first.
void transform_input_tile(const TiledImages (&sources)[2], const Tile& tile, float* v, int64_t plane, int64_t panel);

// (A dy A^T)[p] of a tile for the outputs of a block, at to[p * plane + lane], idle lanes 0. Adds the 4 x 4 values of
// each output to output_sum[lane], too.
void transform_gradient_tile(const TiledImages& grad, const Tile& tile, const LaneBlock& block, float* to,
                             int64_t plane, float* output_sum);

// Asks for the memory that transform_output_tile will store to, while there is something else to do.
void expect_output_tile(const TiledOutput& out, const Tile& tile, const LaneBlock& block);

// y of a tile for the outputs of a block, from m[p * plane + lane].
void transform_output_tile(const TiledOutput& out, const Tile& tile, const LaneBlock& block, const float* m,
                           int64_t plane);

// A weight (o, c, ky, kx), wherever it lies.
struct WeightTaps {
  const float* data;
  int64_t channels;                                // C
  int64_t stride_o, stride_c, stride_y, stride_x;  // elements
};

constexpr int kTaps = 9;
constexpr int64_t kTurnedChannel = kTaps * kMaxLanes;  // floats

// U of a block for 16 channels from `begin` on, (G g G^T)[p] at u[p * plane + channel * lanes + lane]; idle lanes are
// 0, and so are channels from the weight's last one on.
void transform_weights(const WeightTaps& weight, const LaneBlock& block, int64_t begin, float* u, int64_t plane);

// The same for 32 channels, in the three parts of SplitProduct.
void split_weights(const WeightTaps& weight, const LaneBlock& block, int64_t begin, float* u, int64_t plane);

// The reverse, G^T u G, into taps [channels][kTaps][kMaxLanes].
void transform_weight_gradients(const float* u, int64_t plane, const LaneBlock& block, int64_t channels, float* turned);

// How a result is written: over what was there; added to it; or past the caches, in whole cache lines.
enum class Write { store, add, stream };

// Taps of channels [begin, end) into grad_weight [O, channels, 3, 3], dense.
void write_weight_gradients(const float* turned, const LaneBlock& block, int64_t begin, int64_t end, int64_t channels,
                            Write write, float* grad_weight);

}  // namespace unet_fast::UNET_FAST_ISA
