// Winograd's convolution, forward and for the gradient of x, in three schedules. Each makes U, unless it is given.
//
// Wide: for images whose V would not fit into a cache. A task takes about 30 tiles through everything: their V and M of
// 32 outputs stay in the second-level cache, and U comes from the third while the product before is computed.
//
// By blocks: for deep layers, whose U is larger than their V, and for few tiles. V of all tiles is made first; a task
// is one block of outputs for many tiles. It makes U of some channels, multiplies, and goes on to the next ones: U,
// four times the weight, never leaves the second-level cache, nor does M.
//
// By points: for deep layers whose U is kept, or split. V of all tiles is made first; a task is one point and one block
// of outputs, so that every part of U, which comes from main memory, is read once; M of all tiles is last.
#include "cpu/winograd.h"

#include "cpu/few_channels.h"
#include "cpu/winograd_problem.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// M of blocks [begin, end) at point p, m_floats apart, from V at that point; `after` is the U that will be needed then.
void multiply_point(const Problem& problem, Products& product, int64_t p, int64_t begin, int64_t end, const float* v,
                    const float* u, const float* after, int64_t m_floats, float* m) {
  product.take_v(v);
  for (int64_t b = begin; b < end; ++b, m += m_floats) {
    const float* const next_u = b + 1 < end ? problem.u_of(u, p, b + 1) : after;
    product.multiply(problem.lane_block(b), problem.u_of(u, p, b), next_u, m);
  }
}

// ---- wide

// Of a task, at most. Where products are not split, about 28, so that all threads get equally many tasks.
//
// Split products are so fast that U, which comes from the third-level cache once per task, holds them up: unless V and
// M of a task stay in the second-level cache, they get tasks large enough to compute while it comes, as long as every
// thread has some.
int64_t task_tiles(const Problem& problem, int threads) {
  if (!problem.split) {
    constexpr int64_t kItems = max_items(kMaxVectors);
    const int64_t most = divide_up(28, kItems) * kItems, rounds = divide_up(problem.tiles(), most * threads);
    return larger(kItems, divide_up(problem.tiles(), rounds * threads));
  }
  constexpr int64_t kFew = 32, kMany = 128;
  if (problem.channels + problem.blocks * kMaxLanes <= 192) return kFew;
  return smaller(kMany, larger(kFew, divide_up(problem.tiles(), 2 * threads)));
}

struct Wide {
  int64_t tiles;               // of a task, at most
  int64_t v_floats, m_floats;  // of a worker: V, and M of a block
  int64_t scratch_floats;
  int64_t group;         // blocks whose M exists at a time
  int64_t first_floats;  // for the layer before: its weights; of a worker, its result under a row of a task's tiles
  int64_t x_floats;
  Wide(const Problem& problem, const ConvReluArgs* first, int threads)
      : tiles(smaller(task_tiles(problem, threads), problem.tiles())),
        v_floats(kPoints * problem.v_plane(tiles)),
        m_floats(kPoints * problem.m_plane(tiles)),
        scratch_floats(Products::scratch_floats(problem, tiles)),
        first_floats(first ? whole_lines(few_channels_workspace(*first)) : 0),
        x_floats(first ? whole_lines(kTileIn * (kTileOut * tiles + 2) * first->out_channels) : 0) {
    // A small V stays in the second-level cache, and is read again for the next 32 outputs, whose M takes the place of
    // the last one's. U would drive out a large V in between: it is read once, point by point, for all blocks; and so
    // is a V that has to be split.
    constexpr int64_t kCachedV = 160 << 10;  // floats
    constexpr int64_t kFewBlocks = 32 / kMaxLanes;
    group = v_floats <= kCachedV && !problem.split ? smaller(kFewBlocks, problem.blocks) : problem.blocks;
  }
  int64_t worker_floats() const { return v_floats + group * m_floats + scratch_floats + x_floats; }
  int64_t floats(const Problem& problem, const float* packed, int threads) const {
    return problem.own_u_floats(packed) + first_floats + threads * worker_floats();
  }
};

// M of blocks [begin, end) for tiles [first, first + tiles), whose V is given. Along the way the memory of their result
// is asked for, a share of it at every point: stores to a result that lies in no near cache would wait for it.
void multiply_group(const Problem& problem, const Wide& plan, int64_t begin, int64_t end, int64_t first, int64_t tiles,
                    const float* v, const float* u, float* m) {
  Products product(problem, tiles, m + plan.group * plan.m_floats);
  for (int64_t p = 0; p < kPoints; ++p) {
    const int64_t expected = tiles * p / kPoints, more = tiles * (p + 1) / kPoints - expected;
    for (int64_t b = begin; b < end; ++b) problem.expect_output(b, first + expected, more);
    const float* const after =
        p + 1 < kPoints ? problem.u_of(u, p + 1, begin) : problem.u_of(u, 0, end % problem.blocks);
    multiply_point(problem, product, p, begin, end, v + p * problem.v_plane(tiles), u, after, plan.m_floats,
                   m + p * problem.m_plane(tiles));
  }
}

// V of tiles [begin, begin + tiles) where x is the result of the layer before: it is made for a row of tiles at a time,
// and the rows of tiles share two of their six rows of pixels, which are made twice.
void transform_first_layer(const Problem& problem, const ConvReluArgs& first, const float* weights, int64_t begin,
                           int64_t tiles, float* x, float* v) {
  const TileGrid& grid = problem.in[0].grid;
  for (int64_t t = 0; t < tiles;) {
    const Tile tile = grid.tile(begin + t);
    const int64_t run = smaller(tiles - t, grid.columns - tile.column);
    TiledImages part[2] = {problem.in[0], problem.in[1]};
    FewChannelsWindow window = {
        .image = tile.image, .y = tile.row * kTileOut, .x = tile.column * kTileOut, .rows = 0, .columns = 0};
    window.rows = smaller(kTileIn, part[0].height - window.y);
    window.columns = smaller(kTileOut * run + 2, part[0].width - window.x);
    few_channels_window(first, weights, window, x);
    part[0].row_stride = window.columns * part[0].channels;
    part[0].image_stride = 0;
    part[0].data = x - window.y * part[0].row_stride - window.x * part[0].channels;  // of pixel (0, 0)
    grid.visit(begin + t, run, [&](int64_t i, const Tile& at) {
      transform_input_tile(part, at, v + (t + i) * kPanel, problem.v_plane(tiles), tiles * kPanel);
    });
    t += run;
  }
}

void run_wide(const Problem& problem, const ConvReluArgs& args, const Threads& threads) {
  const Wide plan(problem, args.first, threads.count);
  float* const own_u = args.workspace;
  float* const first_weights = own_u + problem.own_u_floats(args.packed);
  float* const workspace = first_weights + plan.first_floats;
  const float* const u = args.packed ? args.packed : own_u;
  if (args.first) few_channels_pack(*args.first, first_weights);
  const Pieces tasks(problem.tiles(), plan.tiles);
  const auto run_task = [&](int64_t task, int64_t worker) {
    float* const v = workspace + worker * plan.worker_floats();
    float* const m = v + plan.v_floats;
    const int64_t first = tasks.begin(task), tiles = tasks.begin(task + 1) - first;
    if (args.first) {
      float* const x = v + plan.worker_floats() - plan.x_floats;
      transform_first_layer(problem, *args.first, first_weights, first, tiles, x, v);
    } else {
      problem.transform_input(first, 0, tiles, tiles, v);
    }
    for (int64_t begin = 0; begin < problem.blocks; begin += plan.group) {
      const int64_t end = smaller(begin + plan.group, problem.blocks);
      multiply_group(problem, plan, begin, end, first, tiles, v, u, m);
      for (int64_t b = begin; b < end; ++b) {
        problem.transform_output(b, first, 0, tiles, tiles, m + (b - begin) * plan.m_floats);
      }
    }
    finish_streams();
  };
  parallel_phases(threads, problem.make_u(own_u, args.packed), Phase{tasks.pieces, run_task});
}

// ---- by points

struct ByPoints {
  int64_t tiles;               // whose V and M exist at a time, at most
  int64_t v_floats, m_floats;  // V, and M of a block
  int64_t group, groups;       // blocks of a task, at most, and groups of them: V is split for each
  int64_t scratch_floats;      // of a worker
  ByPoints(const Problem& problem, int threads) {
    constexpr int64_t kMostFloats = 16 << 20;  // of V and of M
    const int64_t widest = larger(problem.channels, problem.blocks * kMaxLanes);
    tiles = smaller(larger(task_tiles(problem, threads), kMostFloats / (kPoints * widest)), problem.tiles());
    v_floats = kPoints * problem.v_plane(tiles);
    m_floats = kPoints * problem.m_plane(tiles);
    constexpr int64_t kTasksPerThread = 8;
    const int64_t wanted = problem.split ? divide_up(kTasksPerThread * threads, kPoints) : problem.blocks;
    group = divide_up(problem.blocks, smaller(wanted, problem.blocks));
    groups = divide_up(problem.blocks, group);
    scratch_floats = Products::scratch_floats(problem, tiles);
  }
  int64_t floats(const Problem& problem, const float* packed, int threads) const {
    return problem.own_u_floats(packed) + v_floats + problem.blocks * m_floats + threads * scratch_floats;
  }
};

void run_by_points(const Problem& problem, const ConvReluArgs& args, const Threads& threads) {
  const ByPoints plan(problem, threads.count);
  const float* const packed = args.packed;
  float* const own_u = args.workspace;
  float *const v = own_u + problem.own_u_floats(packed), *const m = v + plan.v_floats;
  float* const scratch = m + problem.blocks * plan.m_floats;
  const float* const u = packed ? packed : own_u;
  const Pieces chunks(problem.tiles(), plan.tiles);
  for (int64_t chunk = 0; chunk < chunks.pieces; ++chunk) {
    const int64_t first = chunks.begin(chunk), tiles = chunks.begin(chunk + 1) - first;
    const int64_t tasks = kPoints * plan.groups;
    const auto first_u_of = [&](int64_t task) {
      return problem.u_of(u, task / plan.groups, task % plan.groups * plan.group);
    };
    const auto transform_input = [&](int64_t t, int64_t) { problem.transform_input(first, t, t + 1, tiles, v); };
    const auto multiply = [&](int64_t task, int64_t worker) {
      const int64_t p = task / plan.groups, begin = task % plan.groups * plan.group;
      const int64_t end = smaller(begin + plan.group, problem.blocks);
      Products product(problem, tiles, scratch + worker * plan.scratch_floats);
      // The other threads take the tasks in between.
      multiply_point(problem, product, p, begin, end, v + p * problem.v_plane(tiles), u,
                     first_u_of(smaller(task + threads.count, tasks - 1)), plan.m_floats,
                     m + begin * plan.m_floats + p * problem.m_plane(tiles));
    };
    const auto transform_output = [&](int64_t i, int64_t) {
      const int64_t b = i / tiles, t = i % tiles;
      problem.transform_output(b, first, t, t + 1, tiles, m + b * plan.m_floats);
      if (problem.out[0].streams) finish_streams();
    };
    parallel_phases(threads, problem.make_u(own_u, packed || chunk > 0), phase_of_items(tiles, 4, transform_input),
                    Phase{tasks, multiply}, phase_of_items(problem.blocks * tiles, 16, transform_output));
  }
}

// ---- by blocks

struct ByBlocks {
  int64_t pass;                               // tiles whose V exists at a time, at most
  int64_t tiles;                              // of a task, at most
  int64_t channels;                           // whose U exists at a time, at most: all where products are split
  int64_t v_floats;                           // of the tiles of a task
  int64_t u_plane, m_floats, scratch_floats;  // of a worker: U and M of a block
  ByBlocks(const Problem& problem, int threads) {
    // U and M of a task, 590 kB each, stay in the second-level cache beside the V that passes through it.
    constexpr int64_t kMostV = 16 << 20, kPlane = 4096;  // V, a plane of U or M: floats
    constexpr int64_t kMostTiles = kPlane / kMaxLanes, kLeastTiles = 28;
    pass = smaller(larger(kMostTiles, kMostV / (kPoints * problem.channels)), problem.tiles());
    const int64_t needed = problem.split ? 1 : divide_up(pass, kMostTiles);
    const int64_t wanted = smaller(divide_up(threads, problem.blocks), pass / kLeastTiles);
    tiles = divide_up(pass, larger(needed, wanted));
    channels = problem.split ? problem.channels : smaller(kPlane / kMaxLanes, problem.channels);
    v_floats = kPoints * problem.v_plane(tiles);
    u_plane = problem.split ? problem.u_plane() : plane_floats(channels * kMaxLanes);
    m_floats = kPoints * problem.m_plane(tiles);
    scratch_floats = Products::scratch_floats(problem, tiles);
  }
  int64_t u_floats() const { return kPoints * u_plane; }
  int64_t worker_floats() const { return u_floats() + m_floats + scratch_floats; }
  int64_t floats(int threads) const { return divide_up(pass, tiles) * v_floats + threads * worker_floats(); }
  // Whether V is small, and there is a block for every thread.
  static bool suits_few_tiles(const Problem& problem, int threads) {
    constexpr int64_t kCachedFloats = 352 << 10;
    return kPoints * problem.v_plane(problem.tiles()) <= kCachedFloats && problem.blocks >= threads;
  }
};

// y of one block of outputs for `tiles` tiles from `first` on, whose V is given.
void run_block(const Problem& problem, const ByBlocks& plan, const float* packed, int64_t b, int64_t first,
               int64_t tiles, const float* v, float* own_u) {
  float* const m = own_u + plan.u_floats();
  const LaneBlock block = problem.lane_block(b);
  Products product(problem, tiles, m + plan.m_floats);
  const int64_t v_plane = problem.v_plane(tiles), u_plane = packed ? problem.u_plane() : plan.u_plane;
  const bool asks_for_u = packed || problem.split;  // V comes from farther away otherwise
  for (int64_t begin = 0; begin < problem.channels; begin += plan.channels) {
    const int64_t end = smaller(begin + plan.channels, problem.channels);
    const float* const u = packed ? packed + b * problem.u_block() + begin * block.lanes() : own_u;
    for (int64_t c = begin; !packed && c < end; c += problem.unit_channels()) {
      const int64_t unit = c / problem.unit_channels(), rows = unit * problem.unit_rows() - begin;
      problem.make_u(block, unit, own_u + rows * block.lanes(), u_plane);
    }
    for (int64_t p = 0; p < kPoints; ++p) {
      const bool last = p + 1 == kPoints;
      const float* const next_u = u + (last ? plan.channels * block.lanes() : (p + 1) * u_plane);
      const float* const next_v = v + (last ? end % problem.channels * tiles : (p + 1) * v_plane + begin * tiles);
      product.take_v(v + p * v_plane);
      product.add_part(block, begin, end, u + p * u_plane, asks_for_u ? next_u : next_v,
                       (end - begin) * (asks_for_u ? block.lanes() : tiles), m + p * problem.m_plane(tiles));
    }
  }
  problem.transform_output(b, first, 0, tiles, tiles, m);
  finish_streams();
}

void run_by_blocks(const Problem& problem, const ConvReluArgs& args, const Threads& threads) {
  const ByBlocks plan(problem, threads.count);
  // The products of so few tiles are done before U, four times the weight, would come from beyond the caches: it is
  // made again of the weight.
  constexpr int64_t kFewest = 12;
  const float* const packed = problem.tiles() <= kFewest && !problem.split ? nullptr : args.packed;
  const Pieces passes(problem.tiles(), plan.pass);
  for (int64_t pass = 0; pass < passes.pieces; ++pass) {
    const int64_t pass_begin = passes.begin(pass);
    const Pieces parts(passes.size(pass), plan.tiles);
    float *const v = args.workspace, *const workers = v + parts.pieces * plan.v_floats;
    const auto transform_input = [&](int64_t t, int64_t) {
      const int64_t part = parts.piece_of(t), begin = parts.begin(part);
      problem.transform_input(pass_begin + begin, t - begin, t - begin + 1, parts.size(part), v + part * plan.v_floats);
    };
    const auto run_task = [&](int64_t task, int64_t worker) {
      const int64_t b = task / parts.pieces, part = task % parts.pieces;
      run_block(problem, plan, packed, b, pass_begin + parts.begin(part), parts.size(part), v + part * plan.v_floats,
                workers + worker * plan.worker_floats());
    };
    parallel_phases(threads, phase_of_items(parts.count, 4, transform_input),
                    Phase{problem.blocks * parts.pieces, run_task});
  }
}

bool goes_by_blocks(const Problem& problem, const ConvReluArgs& args, ConvPath path, int threads) {
  if (args.first) return false;
  const bool makes_u = !args.packed && !problem.split;
  return ByBlocks::suits_few_tiles(problem, threads) || (path == ConvPath::deep && makes_u);
}

}  // namespace

int64_t winograd_packed(const ConvReluArgs& args) { return Problem(args).u_floats(); }

void winograd_pack(const ConvReluArgs& args, float* packed, const Threads& threads) {
  parallel_phases(threads, Problem(args).make_u(packed, false));
}

int64_t winograd_workspace(const ConvReluArgs& args, ConvPath path, int threads) {
  const Problem problem(args);
  if (goes_by_blocks(problem, args, path, threads)) return ByBlocks(problem, threads).floats(threads);
  if (path == ConvPath::deep) return ByPoints(problem, threads).floats(problem, args.packed, threads);
  return Wide(problem, args.first, threads).floats(problem, args.packed, threads);
}

void winograd(const ConvReluArgs& args, ConvPath path, const Threads& threads) {
  const Problem problem(args);
  const bool by_blocks = goes_by_blocks(problem, args, path, threads.count);
  const auto run = by_blocks ? run_by_blocks : path == ConvPath::deep ? run_by_points : run_wide;
  run(problem, args, threads);
}

}  // namespace unet_fast::UNET_FAST_ISA
