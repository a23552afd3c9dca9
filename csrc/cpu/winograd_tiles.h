// The parts of Winograd's convolution that know where pixels and weights lie: transforms of one tile or of a run of
// weights, from NHWC images into the planes of the 36 points and back.
#pragma once

#include "cpu/row_blocks.h"
#include "cpu/winograd_matrices.h"

namespace unet_fast::UNET_FAST_ISA {

constexpr int64_t kPlanePadding = 16;  // floats, a cache line; see winograd.h

// From a tile to the next in V: whole vectors, and an odd number of cache lines.
UNET_FAST_FUNCTION int64_t tile_row_floats(int64_t channels) { return (divide_up(channels, 16) | 1) * 16; }

// Tiles of 4 x 4 output pixels, row by row through all images; those at the lower and the right edge may be cut.
struct TileGrid {
  int64_t images, rows, columns;
  TileGrid(int64_t images, int64_t out_height, int64_t out_width)
      : images(images), rows(divide_up(out_height, kTileOut)), columns(divide_up(out_width, kTileOut)) {}
  UNET_FAST_METHOD int64_t count() const { return images * rows * columns; }
};

// A batch of images under the grid.
struct TiledImages {
  const float* data;  // [N, H, W, C] dense
  const float* gate;  // [N, H, W, C] dense or null: data reads as 0 where gate <= 0 (the gradient of ReLU)
  int64_t height;     // H, pixels
  int64_t width;      // W, pixels
  int64_t channels;   // C
  int64_t padding;    // pixels of zeros around; tile (0, 0) begins at pixel (-padding, -padding)
  TileGrid grid;
};

struct TiledOutput {
  float* data;        // [N, H, W, O] dense
  int64_t height;     // H, pixels
  int64_t width;      // W, pixels
  int64_t channels;   // O
  const float* bias;  // [O] or null (0)
  bool relu;
  TileGrid grid;
};

// Outputs [first, first + count) of every pixel: two vectors, or one where no more is left.
struct LaneBlock {
  int64_t first, count;
  int vectors;
  LaneBlock(int64_t index, int64_t outputs)
      : first(index * kMaxLanes),
        count(smaller(outputs - first, kMaxLanes)),
        vectors(static_cast<int>(divide_up(count, kLanes))) {}
  UNET_FAST_METHOD int64_t lanes() const { return vectors * kLanes; }
  static int64_t blocks(int64_t outputs) { return divide_up(outputs, kMaxLanes); }
};

// (B^T d B)[p][c] of a tile for all channels, at v[p * plane + c]. Behind the last channel, up to a whole vector of
// zeros may be written.
void transform_input_tile(const TiledImages& images, int64_t tile, float* v, int64_t plane);

// (A dy A^T)[p] of a tile for the outputs of a block, at to[p * plane + lane], idle lanes 0. Adds the 4 x 4 values of
// each output to output_sum[lane], too.
void transform_gradient_tile(const TiledImages& grad, int64_t tile, const LaneBlock& block, float* to, int64_t plane,
                             float* output_sum);

// y of a tile for the outputs of a block, from m[p * plane + lane].
void transform_output_tile(const TiledOutput& out, int64_t tile, const LaneBlock& block, const float* m, int64_t plane);

// A weight (o, c, ky, kx), wherever it lies.
struct WeightTaps {
  const float* data;
  int64_t stride_o, stride_c, stride_y, stride_x;  // elements
};

constexpr int kTaps = 9;
constexpr int64_t kTurnedChannel = kTaps * kMaxLanes;  // floats
constexpr int64_t kChannelRun = 16;                    // channels whose taps stay in the first-level cache

// The taps of channels [begin, end) for a block: [end - begin][kTaps][kMaxLanes], idle lanes of a vector 0.
void turn_weights(const WeightTaps& weight, const LaneBlock& block, int64_t begin, int64_t end, float* turned);

// U of a block at the six points p = 6 * row + x, (G g G^T)[p] at u[x * plane + c * lanes + lane].
void transform_weights(const float* turned, const LaneBlock& block, int64_t channels, int row, float* u, int64_t plane);

// The reverse, for at most kChannelRun channels: from u[p * plane + c * lanes + lane], adds G^T u G to (or, unless
// `add`, writes it into) grad_weight [O, C, 3, 3], dense.
void transform_weight_gradients(const float* u, int64_t plane, const LaneBlock& block, int64_t begin, int64_t end,
                                int64_t channels, bool add, float* grad_weight);

}  // namespace unet_fast::UNET_FAST_ISA
