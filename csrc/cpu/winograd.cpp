// Winograd's convolution: the choice of the path, and its two schedules for the result and for the gradient of x.
//
// By tiles: for wide images, whose V would not fit into a cache. All of U is made first. A task then takes about 28
// tiles through everything: their V and one block of M stay in the second-level cache, U comes from the third.
//
// By outputs: for deep layers, where U is larger than V. The V of many tiles is made first. A task then takes all of
// them through one block of outputs, whose U it makes for six points at a time, just before they are used.
#include "cpu/winograd.h"

#include "cpu/item_product.h"
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Problem {
  TiledImages in;
  TiledOutput out;
  WeightTaps weight;
  int64_t channels;  // padded

  explicit Problem(const ConvReluArgs& args)
      : in{.data = static_cast<const float*>(args.x),
           .gate = static_cast<const float*>(args.gate),
           .height = args.height,
           .width = args.width,
           .channels = args.in_channels,
           .padding = args.padding,
           .grid = grid_of(args)},
        out{.data = static_cast<float*>(args.y),
            .height = out_height(args),
            .width = out_width(args),
            .channels = args.out_channels,
            .bias = static_cast<const float*>(args.bias),
            .relu = args.relu,
            .grid = grid_of(args)},
        weight{.data = static_cast<const float*>(args.weight),
               .channels = args.in_channels,
               .stride_o = args.weight_stride_o,
               .stride_c = args.weight_stride_c,
               .stride_y = args.weight_stride_y,
               .stride_x = args.weight_stride_x},
        channels(padded_channels(args.in_channels)) {}

  static int64_t out_height(const ConvReluArgs& args) { return args.height + 2 * args.padding - 2; }
  static int64_t out_width(const ConvReluArgs& args) { return args.width + 2 * args.padding - 2; }
  static TileGrid grid_of(const ConvReluArgs& args) { return {args.images, out_height(args), out_width(args)}; }

  int64_t v_plane(int64_t tiles) const { return plane_floats(tiles * channels); }
  static int64_t m_plane(int64_t tiles) { return plane_floats(tiles * kMaxLanes); }
  int64_t u_plane() const { return plane_floats(channels * kMaxLanes); }

  // Tile `first` + t of the grid becomes tile t of the `tiles` in V.
  void transform_input(int64_t first, int64_t t, int64_t tiles, float* v) const {
    transform_input_tile(in, first + t, v + t * kPanel, v_plane(tiles), tiles * kPanel);
  }

  // M of `tiles` tiles and one block at point p, whose U is given.
  void multiply(const ItemProduct& product, const LaneBlock& block, int64_t tiles, int p, const float* v,
                const float* u, float* m) const {
    product.run({
        .a = v + p * v_plane(tiles),
        .a_row = tiles * kPanel,
        .a_item = kPanel,
        .a_step = 1,
        .b = u,
        .rows = channels / kPanel,
        .depth = kPanel,
        .bias = nullptr,
        .relu = false,
        .sum = m + p * m_plane(tiles),
        .sum_item = block.lanes(),
    });
  }

  void transform_output(const LaneBlock& block, int64_t first, int64_t tiles, const float* m) const {
    for (int64_t t = 0; t < tiles; ++t) {
      transform_output_tile(out, first + t, block, m + t * block.lanes(), m_plane(tiles));
    }
  }
};

// ---- by tiles

constexpr int64_t kTaskTiles = 28;  // of a task; a multiple of the micro-kernel's items

struct ByTiles {
  int64_t blocks, tiles;                          // of outputs; of a task, at most
  int64_t u_block, u_floats, v_floats, m_floats;  // U of a block and of all; V and M of a worker
  explicit ByTiles(const Problem& problem)
      : blocks(LaneBlock::blocks(problem.out.channels)),
        tiles(smaller(kTaskTiles, problem.in.grid.count())),
        u_block(kPoints * problem.u_plane()),
        u_floats(blocks * u_block),
        v_floats(kPoints * problem.v_plane(tiles)),
        m_floats(kPoints * problem.m_plane(tiles)) {}
  int64_t worker_floats() const { return v_floats + m_floats; }
};

// U of one block for one panel of channels.
void make_u(const Problem& problem, const LaneBlock& block, int64_t panel, float* u) {
  alignas(64) float turned[kPanel * kTurnedChannel];
  const int64_t c = panel * kPanel;
  turn_weights(problem.weight, block, c, c + kPanel, turned);
  for (int row = 0; row < kTileIn; ++row) {
    transform_weights(turned, block, kPanel, row, u + row * kTileIn * problem.u_plane() + c * block.lanes(),
                      problem.u_plane());
  }
}

void run_by_tiles(const Problem& problem, float* workspace, const Threads& threads) {
  const ByTiles plan(problem);
  const int64_t panels = problem.channels / kPanel;
  float* const u = workspace;
  parallel_for(threads, plan.blocks * panels, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      make_u(problem, LaneBlock(i / panels, problem.out.channels), i % panels, u + i / panels * plan.u_block);
    }
  });
  const Pieces tasks(problem.in.grid.count(), plan.tiles);
  parallel_tasks(threads, tasks.pieces, [&](int64_t task, int64_t worker) {
    float* const v = u + plan.u_floats + worker * plan.worker_floats();
    float* const m = v + plan.v_floats;
    const int64_t first = tasks.begin(task), tiles = tasks.begin(task + 1) - first;
    for (int64_t t = 0; t < tiles; ++t) problem.transform_input(first, t, tiles, v);
    for (int64_t b = 0; b < plan.blocks; ++b) {
      const LaneBlock block(b, problem.out.channels);
      const ItemProduct product(Use::product, block.vectors, tiles);
      for (int p = 0; p < kPoints; ++p) {
        problem.multiply(product, block, tiles, p, v, u + b * plan.u_block + p * problem.u_plane(), m);
      }
      problem.transform_output(block, first, tiles, m);
    }
  });
}

// ---- by outputs

struct ByOutputs {
  int64_t tiles;                         // whose V exists at a time, at most
  int64_t v_floats;                      // V of all
  int64_t w_floats, u_floats, m_floats;  // of a worker, for a block of outputs: turned weights, U at six points, M
  explicit ByOutputs(const Problem& problem) {
    constexpr int64_t kMostV = 5 << 20;  // floats
    tiles = smaller(larger(kTaskTiles, kMostV / (kPoints * problem.channels)), problem.in.grid.count());
    v_floats = kPoints * problem.v_plane(tiles);
    w_floats = problem.channels * kTurnedChannel;
    u_floats = kTileIn * problem.u_plane();
    m_floats = kPoints * problem.m_plane(tiles);
  }
  int64_t worker_floats() const { return w_floats + u_floats + m_floats; }
};

// One block of outputs for tiles [first, first + tiles), whose V is given.
void run_block(const Problem& problem, const ByOutputs& plan, const LaneBlock& block, int64_t first, int64_t tiles,
               const float* v, float* memory) {
  float *const w = memory, *const u = w + plan.w_floats, *const m = u + plan.u_floats;
  const ItemProduct product(Use::product, block.vectors, tiles);
  turn_weights(problem.weight, block, 0, problem.channels, w);
  for (int row = 0; row < kTileIn; ++row) {
    transform_weights(w, block, problem.channels, row, u, problem.u_plane());
    for (int x = 0; x < kTileIn; ++x) {
      problem.multiply(product, block, tiles, row * kTileIn + x, v, u + x * problem.u_plane(), m);
    }
  }
  problem.transform_output(block, first, tiles, m);
}

void run_by_outputs(const Problem& problem, float* workspace, const Threads& threads) {
  const ByOutputs plan(problem);
  float* const v = workspace;
  const Pieces chunks(problem.in.grid.count(), plan.tiles);
  for (int64_t chunk = 0; chunk < chunks.pieces; ++chunk) {
    const int64_t first = chunks.begin(chunk), tiles = chunks.begin(chunk + 1) - first;
    parallel_for(threads, tiles, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) problem.transform_input(first, t, tiles, v);
    });
    parallel_tasks(threads, LaneBlock::blocks(problem.out.channels), [&](int64_t task, int64_t worker) {
      run_block(problem, plan, LaneBlock(task, problem.out.channels), first, tiles, v,
                v + plan.v_floats + worker * plan.worker_floats());
    });
  }
}

// ---- the choice

struct Shape {
  ConvAlgorithm algorithm;
  DType dtype;
  int64_t images, out_height, out_width, in_channels, out_channels;
};

ConvPath choose(const Shape& shape) {
  if (shape.algorithm == ConvAlgorithm::direct || shape.dtype != DType::float32) return ConvPath::direct;
  const TileGrid grid(shape.images, shape.out_height, shape.out_width);
  if (grid.count() == 0) return ConvPath::direct;
  if (shape.algorithm == ConvAlgorithm::automatic) {
    // Thin layers: half a vector would be padding, and the transforms cost as much as the multiplications that they
    // save. From 16 channels on, each instruction set gains.
    if (smaller(shape.in_channels, shape.out_channels) < 16) return ConvPath::direct;
    // Small images: tiles most of which is cut off.
    const int64_t pixels = shape.images * shape.out_height * shape.out_width;
    if (2 * pixels < kTileOut * kTileOut * grid.count()) return ConvPath::direct;
  }
  // U outgrows the second-level cache at 256 x 256 channels (9 MB); V of a wide image outgrows it more.
  const bool deep = shape.in_channels * shape.out_channels >= 256 * 256;
  return deep && grid.rows * grid.columns <= 24 * 24 ? ConvPath::by_outputs : ConvPath::by_tiles;
}

}  // namespace

ConvPath conv_path(const ConvReluArgs& args) {
  return choose({args.algorithm, args.dtype, args.images, Problem::out_height(args), Problem::out_width(args),
                 args.in_channels, args.out_channels});
}

ConvPath conv_path(const ConvReluWeightGradArgs& args) {
  return choose(
      {args.algorithm, args.dtype, args.images, args.height - 2, args.width - 2, args.in_channels, args.out_channels});
}

int64_t winograd_workspace(const ConvReluArgs& args, ConvPath path, int threads) {
  const Problem problem(args);
  if (path == ConvPath::by_tiles) {
    const ByTiles plan(problem);
    return plan.u_floats + threads * plan.worker_floats();
  }
  const ByOutputs plan(problem);
  return plan.v_floats + threads * plan.worker_floats();
}

void winograd(const ConvReluArgs& args, ConvPath path, const Threads& threads) {
  const Problem problem(args);
  if (path == ConvPath::by_tiles) {
    run_by_tiles(problem, args.workspace, threads);
  } else {
    run_by_outputs(problem, args.workspace, threads);
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
