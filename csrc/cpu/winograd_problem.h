// A convolution as its schedules see it: what V, U and M are made from, how large they are, and the products.
#pragma once

#include "core/parallel.h"
#include "cpu/item_product.h"
#include "cpu/split_product.h"
#include "cpu/winograd.h"
#include "cpu/winograd_tiles.h"
#include "ops/conv_relu.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {  // internal, since methods that are not inlined would be weak symbols (tests/test_symbols.py)

struct Problem {
  TiledImages in[2];
  TiledOutput out[2];
  WeightTaps weight;
  int64_t channels;  // of all sources, padded
  int64_t blocks;    // of all outputs
  bool split;        // the products are SplitProducts
  int64_t units;     // of U: 16 channels, or 32 in three parts

  explicit Problem(const ConvReluArgs& args)
      : in{source_of(args, args.gate, args.padding, grid_of(args)), skip_of(args, args.padding, grid_of(args))},
        out{output_of(args), rest_of(args)},
        weight{.data = static_cast<const float*>(args.weight),
               .channels = args.in_channels + args.skip.channels,
               .stride_o = args.weight_stride_o,
               .stride_c = args.weight_stride_c,
               .stride_y = args.weight_stride_y,
               .stride_x = args.weight_stride_x},
        channels(padded_channels(weight.channels)),
        blocks(LaneBlock::blocks(out[0].channels) + LaneBlock::blocks(out[1].channels)),
        split(splits_products(weight.channels, args.out_channels)),
        units(divide_up(channels, unit_channels())) {}

  static int64_t out_height(const ConvReluArgs& args) { return args.height + 2 * args.padding - 2; }
  static int64_t out_width(const ConvReluArgs& args) { return args.width + 2 * args.padding - 2; }
  static TileGrid grid_of(const ConvReluArgs& args) { return {args.images, out_height(args), out_width(args)}; }

  static TiledOutput output_of(const ConvReluArgs& args) {
    return {.data = static_cast<float*>(args.y),
            .pooled = static_cast<float*>(args.pooled),
            .height = out_height(args),
            .width = out_width(args),
            .channels = args.y_rest ? args.y_channels : args.out_channels,
            .crop = args.crop,
            .bias = static_cast<const float*>(args.bias),
            .relu = args.relu,
            .mask = static_cast<const float*>(args.mask),
            .streams = streams(args),
            .grid = grid_of(args)};
  }

  // Every pixel must begin with a cache line.
  static bool streams(const ConvReluArgs& args) {
    const int64_t floats = args.images * out_height(args) * out_width(args) * args.out_channels;
    return args.out_channels % kPanel == 0 && args.y_channels % kPanel == 0 && streams_pay(args.y, floats) &&
           streams_pay(args.y_rest, floats);
  }

  static TiledOutput rest_of(const ConvReluArgs& args) {
    TiledOutput rest = output_of(args);
    rest.data = static_cast<float*>(args.y_rest);
    rest.mask = nullptr;
    rest.channels = args.out_channels - rest.channels;
    return rest;
  }

  int64_t tiles() const { return in[0].grid.count(); }
  int64_t v_plane(int64_t tiles) const { return plane_floats(tiles * channels); }
  static int64_t m_plane(int64_t tiles) { return plane_floats(tiles * kMaxLanes); }
  int64_t unit_channels() const { return split ? 2 * kPanel : kPanel; }
  int64_t unit_rows() const { return split ? kSplitParts * kPanel : kPanel; }  // of as many floats as there are lanes
  int64_t u_plane() const { return plane_floats(units * unit_rows() * kMaxLanes); }
  int64_t u_block() const { return kPoints * u_plane(); }
  int64_t u_floats() const { return blocks * u_block(); }
  const float* u_of(const float* u, int64_t p, int64_t block) const { return u + (block * kPoints + p) * u_plane(); }
  int64_t own_u_floats(const float* packed) const { return packed ? 0 : u_floats(); }

  // Which of the two outputs a block belongs to, and the block.
  int owner(int64_t block) const { return block >= LaneBlock::blocks(out[0].channels); }
  LaneBlock lane_block(int64_t block) const {
    if (!owner(block)) return LaneBlock(block, out[0].channels);
    return LaneBlock(block - LaneBlock::blocks(out[0].channels), out[1].channels, out[0].channels);
  }

  // U of one block for one unit of channels.
  void make_u(const LaneBlock& block, int64_t unit, float* u, int64_t plane) const {
    const auto transform = split ? split_weights : transform_weights;
    transform(weight, block, unit * unit_channels(), u, plane);
  }

  // The phase that makes all of U, or nothing where it is made.
  auto make_u(float* u, bool made) const {
    return phase_of_items(made ? 0 : blocks * units, 4, [this, u](int64_t i, int64_t) {
      const int64_t b = i / units, unit = i % units;
      const LaneBlock block = lane_block(b);
      make_u(block, unit, u + b * u_block() + unit * unit_rows() * block.lanes(), u_plane());
    });
  }

  // Tiles [first + begin, first + end) of the grid become tiles [begin, end) of the `tiles` in V.
  void transform_input(int64_t first, int64_t begin, int64_t end, int64_t tiles, float* v) const {
    in[0].grid.visit(first + begin, end - begin, [&](int64_t t, const Tile& tile) {
      transform_input_tile(in, tile, v + (begin + t) * kPanel, v_plane(tiles), tiles * kPanel);
    });
  }

  void expect_output(int64_t block, int64_t first, int64_t tiles) const {
    const TiledOutput& image = out[owner(block)];
    if (image.streams) return;
    const LaneBlock lanes = lane_block(block);
    image.grid.visit(first, tiles, [&](int64_t, const Tile& tile) { expect_output_tile(image, tile, lanes); });
  }

  // y of tiles [first + begin, first + end) of the grid from tiles [begin, end) of the `tiles` in M of a block.
  void transform_output(int64_t block, int64_t first, int64_t begin, int64_t end, int64_t tiles, const float* m) const {
    const TiledOutput& image = out[owner(block)];
    const LaneBlock lanes = lane_block(block);
    image.grid.visit(first + begin, end - begin, [&](int64_t t, const Tile& tile) {
      transform_output_tile(image, tile, lanes, m + (begin + t) * lanes.lanes(), m_plane(tiles));
    });
  }
};

// The products of so many tiles, of either kind, on one thread.
class Products {
 public:
  static int64_t scratch_floats(const Problem& problem, int64_t tiles) {
    return problem.split ? SplitProduct::scratch_floats(tiles, problem.units) : 0;
  }

  Products(const Problem& problem, int64_t tiles, float* scratch)
      : problem_(problem),
        tiles_(tiles),
        products_{ItemProduct(Use::panels, 1, tiles), ItemProduct(Use::panels, 2, tiles)},
        split_(problem.split ? tiles : 0, problem.units, scratch) {}

  // V at the point of the products that follow.
  void take_v(const float* v) {
    v_ = v;
    if (problem_.split) split_.split_left(v, problem_.channels);
  }

  // M of one block of outputs from its U; `next_u` is the one that will be needed next.
  void multiply(const LaneBlock& block, const float* u, const float* next_u, float* m) const {
    add_part(block, 0, problem_.channels, u, next_u, problem_.channels * block.lanes(), m);
  }

  // The part of M that channels [begin, end) are, added to that of the channels before, from their U; all channels in
  // one, where products are split. `next` is what will be needed next, so many floats.
  void add_part(const LaneBlock& block, int64_t begin, int64_t end, const float* u, const float* next,
                int64_t next_floats, float* m) const {
    if (problem_.split) {
      split_.run(block.vectors, u, next, m);
      return;
    }
    const MicroKernelArgs args = {
        .a = v_ + begin * tiles_,
        .a_row = tiles_ * kPanel,
        .a_item = kPanel,
        .a_step = 1,
        .b = u,
        .rows = (end - begin) / kPanel,
        .depth = kPanel,
        .bias = nullptr,
        .relu = false,
        .sum = m,
        .sum_item = block.lanes(),
        .next = next,
        .adds = begin > 0,
    };
    products_[block.vectors - 1].run(args, next_floats);
  }

 private:
  const Problem& problem_;
  const int64_t tiles_;
  const ItemProduct products_[2];  // for blocks of one vector and of two
  const SplitProduct split_;
  const float* v_ = nullptr;
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
