// Winograd's convolution, forward and for the gradient of x, in three schedules. Each makes U, unless it is given.
//
// Wide: for images whose V would not fit into a cache. A task takes about 28 tiles through everything: their
// V and one block of M stay in the second-level cache, and U comes from the third while the product before is computed.
//
// Deep: for layers whose U is larger than their V. V of all tiles is made first; a task is one point and one
// block of outputs, so that every part of U, which comes from main memory, is read once; M of all tiles is last.
//
// Few tiles, whose V fits into a second-level cache: a task is one block of outputs, and makes the U that it uses.
#include "cpu/winograd.h"

#include "cpu/item_product.h"
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Problem {
  TiledImages in[2];
  TiledOutput out[2];
  WeightTaps weight;
  int64_t channels;  // of all sources, padded
  int64_t blocks;    // of all outputs

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
        blocks(LaneBlock::blocks(out[0].channels) + LaneBlock::blocks(out[1].channels)) {}

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
    rest.channels = args.out_channels - rest.channels;
    return rest;
  }

  int64_t tiles() const { return in[0].grid.count(); }
  int64_t v_plane(int64_t tiles) const { return plane_floats(tiles * channels); }
  static int64_t m_plane(int64_t tiles) { return plane_floats(tiles * kMaxLanes); }
  int64_t u_plane() const { return plane_floats(channels * kMaxLanes); }
  int64_t u_block() const { return kPoints * u_plane(); }
  int64_t u_floats() const { return blocks * u_block(); }
  int64_t own_u_floats(const float* packed) const { return packed ? 0 : u_floats(); }

  // Which of the two outputs a block belongs to, and the block.
  int owner(int64_t block) const { return block >= LaneBlock::blocks(out[0].channels); }
  LaneBlock lane_block(int64_t block) const {
    if (!owner(block)) return LaneBlock(block, out[0].channels);
    return LaneBlock(block - LaneBlock::blocks(out[0].channels), out[1].channels, out[0].channels);
  }

  // U of one block for one panel of channels.
  void make_u(int64_t block, int64_t panel, float* block_u) const {
    alignas(64) float turned[kPanel * kTurnedChannel];
    const int64_t c = panel * kPanel;
    const LaneBlock lanes = lane_block(block);
    turn_weights(weight, lanes, c, c + kPanel, turned);
    transform_weights(turned, lanes, kPanel, block_u + c * lanes.lanes(), u_plane());
  }

  // The phase that makes all of U, or nothing where it is made.
  auto make_u(float* u, bool made) const {
    const int64_t panels = channels / kPanel;
    return phase_of_items(made ? 0 : blocks * panels, 4, [this, panels, u](int64_t i, int64_t) {
      make_u(i / panels, i % panels, u + i / panels * u_block());
    });
  }

  // Tile `first` + t of the grid becomes tile t of the `tiles` in V.
  void transform_input(int64_t first, int64_t t, int64_t tiles, float* v) const {
    transform_input_tile(in, first + t, v + t * kPanel, v_plane(tiles), tiles * kPanel);
  }

  // M of `tiles` tiles and one block at a point, from V and U at that point; `next_u` is the U that will be needed
  // next.
  void multiply(const ItemProduct& product, const LaneBlock& block, int64_t tiles, const float* v, const float* u,
                const float* next_u, float* m) const {
    product.run({
        .a = v,
        .a_row = tiles * kPanel,
        .a_item = kPanel,
        .a_step = 1,
        .b = u,
        .rows = channels / kPanel,
        .depth = kPanel,
        .bias = nullptr,
        .relu = false,
        .sum = m,
        .sum_item = block.lanes(),
        .next = next_u,
    });
  }

  void transform_output(int64_t block, int64_t first, int64_t t, int64_t tiles, const float* m) const {
    const LaneBlock lanes = lane_block(block);
    transform_output_tile(out[owner(block)], first + t, lanes, m + t * lanes.lanes(), m_plane(tiles));
  }
};

// ---- wide

constexpr int64_t kTaskTiles = 28;  // of a task; a multiple of the micro-kernel's items

struct Wide {
  int64_t tiles;               // of a task, at most
  int64_t v_floats, m_floats;  // of a worker: V, and M of a block
  int64_t group;               // blocks whose M exists at a time
  explicit Wide(const Problem& problem)
      : tiles(smaller(kTaskTiles, problem.tiles())),
        v_floats(kPoints * problem.v_plane(tiles)),
        m_floats(kPoints * problem.m_plane(tiles)) {
    // A small V stays in the second-level cache, and is read again for the next block, whose M takes the place of the
    // last one's. U would drive out a large V in between: it is read once, point by point, for all blocks.
    constexpr int64_t kCachedV = 160 << 10;  // floats
    group = v_floats <= kCachedV ? 1 : problem.blocks;
  }
  int64_t worker_floats() const { return v_floats + group * m_floats; }
  int64_t floats(const Problem& problem, const float* packed, int threads) const {
    return problem.own_u_floats(packed) + threads * worker_floats();
  }
};

// M of blocks [begin, end) for `tiles` tiles, whose V is given.
void multiply_group(const Problem& problem, const Wide& plan, int64_t begin, int64_t end, int64_t tiles, const float* v,
                    const float* u, float* m) {
  const int64_t products = kPoints * (end - begin);
  const auto u_of = [&](int64_t i) {
    return u + ((begin + i % (end - begin)) * kPoints + i / (end - begin)) * problem.u_plane();
  };
  for (int64_t i = 0; i < products; ++i) {
    const int64_t p = i / (end - begin), b = i % (end - begin);
    const LaneBlock block = problem.lane_block(begin + b);
    const ItemProduct product(Use::panels, block.vectors, tiles);
    const float* next_u = i + 1 < products ? u_of(i + 1) : u + end % problem.blocks * problem.u_block();
    problem.multiply(product, block, tiles, v + p * problem.v_plane(tiles), u_of(i), next_u,
                     m + b * plan.m_floats + p * problem.m_plane(tiles));
  }
}

void run_wide(const Problem& problem, const float* packed, float* workspace, const Threads& threads) {
  const Wide plan(problem);
  float* const own_u = workspace;
  workspace += problem.own_u_floats(packed);
  const float* const u = packed ? packed : own_u;
  const Pieces tasks(problem.tiles(), plan.tiles);
  const auto run_task = [&](int64_t task, int64_t worker) {
    float* const v = workspace + worker * plan.worker_floats();
    float* const m = v + plan.v_floats;
    const int64_t first = tasks.begin(task), tiles = tasks.begin(task + 1) - first;
    for (int64_t t = 0; t < tiles; ++t) problem.transform_input(first, t, tiles, v);
    for (int64_t begin = 0; begin < problem.blocks; begin += plan.group) {
      const int64_t end = smaller(begin + plan.group, problem.blocks);
      multiply_group(problem, plan, begin, end, tiles, v, u, m);
      for (int64_t b = begin; b < end; ++b) {
        for (int64_t t = 0; t < tiles; ++t) {
          problem.transform_output(b, first, t, tiles, m + (b - begin) * plan.m_floats);
        }
      }
    }
    finish_streams();
  };
  parallel_phases(threads, problem.make_u(own_u, packed), Phase{tasks.pieces, run_task});
}

// ---- deep

struct Deep {
  int64_t tiles;               // whose V and M exist at a time, at most
  int64_t v_floats, m_floats;  // V, and M of a block
  explicit Deep(const Problem& problem) {
    constexpr int64_t kMostFloats = 16 << 20;  // of V and of M
    tiles = smaller(larger(kTaskTiles, kMostFloats / (kPoints * larger(problem.channels, problem.blocks * kMaxLanes))),
                    problem.tiles());
    v_floats = kPoints * problem.v_plane(tiles);
    m_floats = kPoints * problem.m_plane(tiles);
  }
  int64_t floats(const Problem& problem, const float* packed) const {
    return problem.own_u_floats(packed) + v_floats + problem.blocks * m_floats;
  }
};

void run_deep(const Problem& problem, const float* packed, float* workspace, const Threads& threads) {
  const Deep plan(problem);
  float* const own_u = workspace;
  float *const v = own_u + problem.own_u_floats(packed), *const m = v + plan.v_floats;
  const float* const u = packed ? packed : own_u;
  const Pieces chunks(problem.tiles(), plan.tiles);
  for (int64_t chunk = 0; chunk < chunks.pieces; ++chunk) {
    const int64_t first = chunks.begin(chunk), tiles = chunks.begin(chunk + 1) - first;
    const int64_t products = kPoints * problem.blocks;
    const auto u_of = [&](int64_t task) {
      return u + (task % problem.blocks * kPoints + task / problem.blocks) * problem.u_plane();
    };
    const auto transform_input = [&](int64_t t, int64_t) { problem.transform_input(first, t, tiles, v); };
    const auto multiply = [&](int64_t task, int64_t) {
      const int64_t p = task / problem.blocks, b = task % problem.blocks;
      const LaneBlock block = problem.lane_block(b);
      const ItemProduct product(Use::panels, block.vectors, tiles);
      // The other threads take the tasks in between.
      problem.multiply(product, block, tiles, v + p * problem.v_plane(tiles), u_of(task),
                       u_of(smaller(task + threads.count, products - 1)),
                       m + b * plan.m_floats + p * problem.m_plane(tiles));
    };
    const auto transform_output = [&](int64_t i, int64_t) {
      problem.transform_output(i / tiles, first, i % tiles, tiles, m + i / tiles * plan.m_floats);
      if (problem.out[0].streams) finish_streams();
    };
    parallel_phases(threads, problem.make_u(own_u, packed || chunk > 0), phase_of_items(tiles, 4, transform_input),
                    Phase{products, multiply}, phase_of_items(problem.blocks * tiles, 16, transform_output));
  }
}

// ---- few tiles

struct FewTiles {
  int64_t v_floats, u_floats, m_floats;  // V; of a worker: U and M of a block
  explicit FewTiles(const Problem& problem)
      : v_floats(kPoints * problem.v_plane(problem.tiles())),
        u_floats(problem.u_block()),
        m_floats(kPoints * problem.m_plane(problem.tiles())) {}
  int64_t floats(int threads) const { return v_floats + threads * (u_floats + m_floats); }
  // Whether V is small, and there is a block for every thread.
  bool suit(const Problem& problem, int threads) const {
    constexpr int64_t kCachedFloats = 320 << 10;
    return v_floats <= kCachedFloats && problem.blocks >= threads;
  }
};

void run_few_tiles(const Problem& problem, const float* packed, float* workspace, const Threads& threads) {
  const FewTiles plan(problem);
  const int64_t tiles = problem.tiles();
  float* const v = workspace;
  const auto transform_input = [&](int64_t t, int64_t) { problem.transform_input(0, t, tiles, v); };
  const auto run_block = [&](int64_t b, int64_t worker) {
    float* const own_u = v + plan.v_floats + worker * (plan.u_floats + plan.m_floats);
    float* const m = own_u + plan.u_floats;
    const LaneBlock block = problem.lane_block(b);
    const ItemProduct product(Use::panels, block.vectors, tiles);
    if (!packed) {
      for (int64_t panel = 0; panel < problem.channels / kPanel; ++panel) problem.make_u(b, panel, own_u);
    }
    const float* const u = packed ? packed + b * problem.u_block() : own_u;
    for (int p = 0; p < kPoints; ++p) {
      problem.multiply(product, block, tiles, v + p * problem.v_plane(tiles), u + p * problem.u_plane(),
                       u + (p + 1) % kPoints * problem.u_plane(), m + p * problem.m_plane(tiles));
    }
    for (int64_t t = 0; t < tiles; ++t) problem.transform_output(b, 0, t, tiles, m);
    finish_streams();
  };
  parallel_phases(threads, phase_of_items(tiles, 4, transform_input), Phase{problem.blocks, run_block});
}

}  // namespace

int64_t winograd_packed(const ConvReluArgs& args) { return Problem(args).u_floats(); }

void winograd_pack(const ConvReluArgs& args, float* packed, const Threads& threads) {
  parallel_phases(threads, Problem(args).make_u(packed, false));
}

int64_t winograd_workspace(const ConvReluArgs& args, ConvPath path, int threads) {
  const Problem problem(args);
  const FewTiles few_tiles(problem);
  if (few_tiles.suit(problem, threads)) return few_tiles.floats(threads);
  if (path == ConvPath::deep) return Deep(problem).floats(problem, args.packed);
  return Wide(problem).floats(problem, args.packed, threads);
}

void winograd(const ConvReluArgs& args, ConvPath path, const Threads& threads) {
  const Problem problem(args);
  const bool few_tiles = FewTiles(problem).suit(problem, threads.count);
  const auto run = few_tiles ? run_few_tiles : path == ConvPath::deep ? run_deep : run_wide;
  run(problem, args.packed, args.workspace, threads);
}

}  // namespace unet_fast::UNET_FAST_ISA
