// The gradient of the weight in Winograd's domain: for each point p, dU[p] = V[p]^T (A dy A^T)[p], and
// dW = G^T dU G, because y = A^T [ sum of U * V ] A and U = G W G^T.
//
// Wide: a task takes a chunk of tiles, a block of them at a time, and adds to a dU of its own; its dW is a partial
// sum, and the partial sums of all chunks are added in their order. Where there are more threads than chunks, several
// tasks share a chunk, each with a group of the outputs and a V of its own.
//
// Deep: V of many tiles at once; a task transforms the gradient of a block of outputs for all of them and computes its
// dU for some channels at a time, which is dW before it leaves the second-level cache. Where there are more tiles than
// that, dW is added up.
//
// The chunks depend on the shape alone, and so do the sums.
#include "cpu/item_product.h"
#include "cpu/winograd.h"
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Problem {
  TiledImages in[2];
  TiledImages grad;
  int64_t blocks;       // of outputs
  int64_t in_channels;  // of both sources
  int64_t channels;     // the same, padded
  float* grad_weight;   // [O, C, 3, 3]
  float* grad_bias;     // [O]

  explicit Problem(const ConvReluWeightGradArgs& args)
      : in{source_of(args, nullptr, 0, grid_of(args)), skip_of(args, 0, grid_of(args))},
        grad{.data = static_cast<const float*>(args.grad),
             .gate = static_cast<const float*>(args.gate),
             .height = args.height - 2,
             .width = args.width - 2,
             .channels = args.out_channels,
             .row_stride = (args.width - 2) * args.out_channels,
             .image_stride = (args.height - 2) * (args.width - 2) * args.out_channels,
             .padding = 0,
             .grid = grid_of(args)},
        blocks(LaneBlock::blocks(args.out_channels)),
        in_channels(args.in_channels + args.skip.channels),
        channels(padded_channels(in_channels)),
        grad_weight(static_cast<float*>(args.grad_weight)),
        grad_bias(static_cast<float*>(args.grad_bias)) {}

  static TileGrid grid_of(const ConvReluWeightGradArgs& args) { return {args.images, args.height - 2, args.width - 2}; }

  int64_t tiles() const { return grad.grid.count(); }
  int64_t weights() const { return grad.channels * in_channels * kTaps; }
  int64_t v_plane(int64_t tiles) const { return plane_floats(tiles * channels); }
  static int64_t y_plane(int64_t tiles) { return plane_floats(tiles * kMaxLanes); }
  int64_t u_plane() const { return plane_floats(channels * kMaxLanes); }

  // Tiles [first + begin, first + end) of the grid become tiles [begin, end) of the `tiles` in V.
  void transform_input(int64_t first, int64_t begin, int64_t end, int64_t tiles, float* v) const {
    grad.grid.visit(first + begin, end - begin, [&](int64_t t, const Tile& tile) {
      transform_input_tile(in, tile, v + (begin + t) * kPanel, v_plane(tiles), tiles * kPanel);
    });
  }

  // The same in the transformed gradient of one block of outputs.
  void transform_gradient(const LaneBlock& block, int64_t first, int64_t tiles, float* y, float* bias_sum) const {
    grad.grid.visit(first, tiles, [&](int64_t t, const Tile& tile) {
      transform_gradient_tile(grad, tile, block, y + t * block.lanes(), y_plane(tiles), bias_sum + block.first);
    });
  }

  // V^T Y at point p for channels [begin, end) into (or, if `add`, added to) u, panel by panel; the sums at the next
  // point lie a plane behind those at this one.
  void multiply(const ItemProduct& product, const LaneBlock& block, int64_t tiles, int64_t begin, int64_t end, int p,
                const float* v, const float* y, bool add, float* u, int64_t plane) const {
    for (int64_t c = begin; c < end; c += kPanel) {
      float* const sum = u + (c - begin) * block.lanes();
      product.run({
          .a = v + p * v_plane(tiles) + c * tiles,
          .a_row = 0,
          .a_item = 1,
          .a_step = kPanel,
          .b = y + p * y_plane(tiles),
          .rows = 1,
          .depth = tiles,
          .bias = nullptr,
          .relu = false,
          .sum = sum,
          .sum_item = block.lanes(),
          .next = c + kPanel < end ? sum + kPanel * block.lanes() : u + plane,
          .adds = add,
      });
    }
  }
};

// ---- wide

struct Wide {
  int64_t chunks, tiles;                 // of all tiles; of a block of tiles, at most
  int64_t group, groups;                 // blocks of outputs of a task, at most; groups of them
  int64_t weight_floats, sum_floats;     // the partial sums of a chunk: of the weight; and of the bias behind them
  int64_t v_floats, y_floats, u_floats;  // of a worker: V and transformed gradient of a block of tiles, the latter for
  int64_t w_floats;                      // one block of outputs; dU of a group; turned dW of one block
  Wide(const Problem& problem, int threads) {
    constexpr int64_t kBlockTiles = 56, kMaxChunks = 32, kThinWeights = 64 * 64 * kTaps;
    const int64_t count = problem.tiles();
    // The dU of a chunk, four times the weight, has to pay: in thin layers sooner, which have few blocks to share out.
    const int64_t least_tiles = (problem.weights() <= kThinWeights ? 2 : 4) * kBlockTiles;
    chunks = 1;  // a power of two, so that two or four threads get as many each
    while (2 * chunks <= smaller(count / least_tiles, kMaxChunks)) chunks *= 2;
    groups = smaller(problem.blocks, divide_up(threads, chunks));
    group = divide_up(problem.blocks, groups);
    groups = divide_up(problem.blocks, group);
    tiles = smaller(kBlockTiles, count);
    weight_floats = whole_lines(problem.weights());
    sum_floats = weight_floats + problem.blocks * kMaxLanes;
    v_floats = kPoints * problem.v_plane(tiles);
    y_floats = kPoints * problem.y_plane(tiles);
    u_floats = group * kPoints * problem.u_plane();
    w_floats = problem.channels * kTurnedChannel;
  }
  int64_t worker_floats() const { return v_floats + y_floats + u_floats + w_floats; }
};

// The partial sums of tiles [begin, end) for blocks of outputs [begin_block, end_block).
void sum_chunk(const Problem& problem, const Wide& plan, int64_t begin, int64_t end, int64_t begin_block,
               int64_t end_block, float* memory, float* sums) {
  float *const v = memory, *const y = v + plan.v_floats, *const u = y + plan.y_floats, *const w = u + plan.u_floats;
  float* const bias_sum = sums + plan.weight_floats;
  memset(bias_sum + begin_block * kMaxLanes, 0, (end_block - begin_block) * kMaxLanes * sizeof(float));
  const auto u_of = [&](int64_t block, int p) { return u + ((block - begin_block) * kPoints + p) * problem.u_plane(); };
  const Pieces pieces(end - begin, plan.tiles);
  for (int64_t piece = 0; piece < pieces.pieces; ++piece) {
    const int64_t first = begin + pieces.begin(piece), tiles = begin + pieces.begin(piece + 1) - first;
    problem.transform_input(first, 0, tiles, tiles, v);
    for (int64_t b = begin_block; b < end_block; ++b) {
      const LaneBlock block(b, problem.grad.channels);
      const ItemProduct product(Use::gradient, block.vectors, kPanel);
      problem.transform_gradient(block, first, tiles, y, bias_sum);
      for (int p = 0; p < kPoints; ++p) {
        problem.multiply(product, block, tiles, 0, problem.channels, p, v, y, piece > 0, u_of(b, p), problem.u_plane());
      }
    }
  }
  for (int64_t b = begin_block; b < end_block; ++b) {
    const LaneBlock block(b, problem.grad.channels);
    transform_weight_gradients(u_of(b, 0), problem.u_plane(), block, problem.in_channels, w);
    write_weight_gradients(w, block, 0, problem.in_channels, problem.in_channels, Write::store, sums);
  }
}

void run_wide(const Problem& problem, float* workspace, const Threads& threads) {
  const Wide plan(problem, threads.count);
  const Pieces chunks(problem.tiles(), divide_up(problem.tiles(), plan.chunks));
  float* const sums = workspace + threads.count * plan.worker_floats();
  const auto sum_task = [&](int64_t task, int64_t worker) {
    const int64_t chunk = task / plan.groups, first = task % plan.groups * plan.group;
    sum_chunk(problem, plan, chunks.begin(chunk), chunks.begin(chunk + 1), first,
              smaller(first + plan.group, problem.blocks), workspace + worker * plan.worker_floats(),
              sums + chunk * plan.sum_floats);
  };
  const auto add_chunks = [&](int64_t i) {
    float sum = sums[i];
    for (int64_t chunk = 1; chunk < chunks.pieces; ++chunk) sum += sums[chunk * plan.sum_floats + i];
    return sum;
  };
  parallel_phases(
      threads, Phase{chunks.pieces * plan.groups, sum_task},
      phase_of_items(problem.weights(), 4096, [&](int64_t i, int64_t) { problem.grad_weight[i] = add_chunks(i); }));
  for (int64_t o = 0; o < problem.grad.channels; ++o) {
    problem.grad_bias[o] = add_chunks(plan.weight_floats + o);
  }
}

// ---- deep

struct Deep {
  int64_t tiles;                         // whose V exists at a time, at most
  int64_t channels;                      // whose dU does, at most
  int64_t v_floats;                      // V of all
  int64_t u_plane;                       // of a worker, for a block of outputs and so many channels: dU at a point;
  int64_t y_floats, u_floats, w_floats;  // transformed gradient, dU, turned dW
  explicit Deep(const Problem& problem) {
    constexpr int64_t kMostV = 5 << 20, kPlane = 4096;  // floats
    channels = smaller(kPlane / kMaxLanes, problem.channels);
    u_plane = plane_floats(channels * kMaxLanes);
    tiles = smaller(larger(56, kMostV / (kPoints * problem.channels)), problem.tiles());
    v_floats = kPoints * problem.v_plane(tiles);
    y_floats = kPoints * problem.y_plane(tiles);
    u_floats = kPoints * u_plane;
    w_floats = channels * kTurnedChannel;
  }
  int64_t worker_floats() const { return y_floats + u_floats + w_floats; }
};

// One block of outputs over tiles [first, first + tiles), whose V is given.
void sum_block(const Problem& problem, const Deep& plan, const LaneBlock& block, int64_t first, int64_t tiles,
               const float* v, Write write, float* memory, float* bias_sum) {
  float *const y = memory, *const u = y + plan.y_floats, *const w = u + plan.u_floats;
  const ItemProduct product(Use::gradient, block.vectors, kPanel);
  problem.transform_gradient(block, first, tiles, y, bias_sum);
  for (int64_t begin = 0; begin < problem.channels; begin += plan.channels) {
    const int64_t end = smaller(begin + plan.channels, problem.channels);
    for (int p = 0; p < kPoints; ++p) {
      problem.multiply(product, block, tiles, begin, end, p, v, y, false, u + p * plan.u_plane, plan.u_plane);
    }
    const int64_t last = smaller(end, problem.in_channels);
    transform_weight_gradients(u, plan.u_plane, block, last - begin, w);
    write_weight_gradients(w, block, begin, last, problem.in_channels, write, problem.grad_weight);
  }
}

void run_deep(const Problem& problem, float* workspace, const Threads& threads) {
  const Deep plan(problem);
  float *const bias_sum = workspace, *const v = bias_sum + problem.blocks * kMaxLanes;
  memset(bias_sum, 0, problem.blocks * kMaxLanes * sizeof(float));
  const Pieces chunks(problem.tiles(), plan.tiles);
  const bool whole_lines = problem.in_channels % kPanel == 0;
  const bool streams = chunks.pieces == 1 && streams_pay(problem.grad_weight, problem.weights(), whole_lines);
  for (int64_t chunk = 0; chunk < chunks.pieces; ++chunk) {
    const int64_t first = chunks.begin(chunk), tiles = chunks.begin(chunk + 1) - first;
    const Write write = chunk > 0 ? Write::add : streams ? Write::stream : Write::store;
    const auto transform_input = [&](int64_t t, int64_t) { problem.transform_input(first, t, t + 1, tiles, v); };
    const auto sum_task = [&](int64_t task, int64_t worker) {
      sum_block(problem, plan, LaneBlock(task, problem.grad.channels), first, tiles, v, write,
                v + plan.v_floats + worker * plan.worker_floats(), bias_sum);
    };
    parallel_phases(threads, phase_of_items(tiles, 4, transform_input), Phase{problem.blocks, sum_task});
  }
  memcpy(problem.grad_bias, bias_sum, problem.grad.channels * sizeof(float));
}

}  // namespace

int64_t winograd_weight_grad_workspace(const ConvReluWeightGradArgs& args, ConvPath path, int threads) {
  const Problem problem(args);
  if (path == ConvPath::wide) {
    const Wide plan(problem, threads);
    return threads * plan.worker_floats() + plan.chunks * plan.sum_floats;
  }
  const Deep plan(problem);
  return problem.blocks * kMaxLanes + plan.v_floats + threads * plan.worker_floats();
}

void winograd_weight_grad(const ConvReluWeightGradArgs& args, ConvPath path, const Threads& threads) {
  const Problem problem(args);
  if (path == ConvPath::wide) {
    run_wide(problem, args.workspace, threads);
  } else {
    run_deep(problem, args.workspace, threads);
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
