// The gradient of up_conv's weight, from x in panels of 16 channels: for each pixel (a, b) of y over one of x
//
//   grad_weight[c][o][a][b] = sum over pixels i, j of x[i][j][c] * grad[2i + a][2j + b][o]
//
// The rows are cut into chunks that depend on the shape alone. A task sums one chunk for one block of outputs; the sums
// of the chunks are added in their order.
#include "cpu/item_product.h"
#include "cpu/up_conv_panels.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int64_t kRunPixels = 128;  // whose gradients are packed at a time: the first-level cache holds them

struct Problem {
  UpConvShape shape;
  const float *x, *grad;
  int64_t pixels, chunks;
  int64_t v_floats, packed_floats, sum_floats;  // V; of a worker; of a chunk and block: dU, then sums of the gradient

  explicit Problem(const UpConvWeightGradArgs& args)
      : shape(args.shape),
        x(static_cast<const float*>(args.x)),
        grad(static_cast<const float*>(args.grad)),
        pixels(shape.images * shape.height * shape.width) {
    constexpr int64_t kMinPixels = 2048, kMostSums = 4 << 20;
    sum_floats = (shape.in_channels + 1) * kMaxLanes;
    chunks = larger(1, smaller(pixels / kMinPixels, kMostSums / (blocks() * sum_floats)));
    v_floats = pixels * shape.in_channels;
    packed_floats = kRunPixels * kMaxLanes;
  }

  int64_t part_blocks() const { return LaneBlock::blocks(shape.out_channels); }
  int64_t blocks() const { return kParts * part_blocks(); }
  LaneBlock lane_block(int64_t block) const { return LaneBlock(block % part_blocks(), shape.out_channels); }

  // V: [C / 16 panels][pixels][16].
  void gather(int64_t pixel, float* v) const {
    copy_to_panels(x + pixel * shape.in_channels, shape.in_channels, v + pixel * kPanel, pixels * kPanel);
  }

  // The gradients over pixels [begin, end) of x for a block, [pixels][lanes]; adds them to `sum`, too.
  void pack(int64_t block, int64_t begin, int64_t end, float* packed, float* sum) const {
    const int64_t part = block / part_blocks(), y_row = 2 * shape.width * shape.out_channels;
    const LaneBlock lanes = lane_block(block);
    const float* row =
        grad + (2 * (begin / shape.width) + part / 2) * y_row + part % 2 * shape.out_channels + lanes.first;
    int64_t column = begin % shape.width;
    Vector total[kMaxVectors] = {};
    for (int64_t pixel = begin; pixel < end; ++pixel, packed += lanes.lanes()) {
      const float* from = row + 2 * column * shape.out_channels;
      for (int v = 0; v < lanes.vectors; ++v) {
        const Vector value = load(from + v * kLanes);
        total[v] += value;
        store(packed + v * kLanes, value);
      }
      if (++column == shape.width) column = 0, row += 2 * y_row;
    }
    for (int v = 0; v < lanes.vectors; ++v) store(sum + v * kLanes, load(sum + v * kLanes) + total[v]);
  }
};

// dU [C][lanes] of pixels [begin, end) for a block, and the sums of their gradients behind.
void sum_chunk(const Problem& problem, int64_t block, int64_t begin, int64_t end, const float* v, float* packed,
               float* sums) {
  const LaneBlock lanes = problem.lane_block(block);
  const int64_t channels = problem.shape.in_channels;
  const ItemProduct product(Use::gradient, lanes.vectors, kPanel);
  memset(sums, 0, problem.sum_floats * sizeof(float));
  const Pieces runs(end - begin, kRunPixels);
  for (int64_t run = 0; run < runs.pieces; ++run) {
    const int64_t first = begin + runs.begin(run), last = begin + runs.begin(run + 1);
    problem.pack(block, first, last, packed, sums + channels * kMaxLanes);
    for (int64_t c = 0; c < channels; c += kPanel) {
      float* const sum = sums + c * lanes.lanes();
      product.run({
          .a = v + c * problem.pixels + first * kPanel,
          .a_row = 0,
          .a_item = 1,
          .a_step = kPanel,
          .b = packed,
          .rows = 1,
          .depth = last - first,
          .bias = nullptr,
          .relu = false,
          .sum = sum,
          .sum_item = lanes.lanes(),
          .next = sum + kPanel * lanes.lanes(),
          .adds = true,
      });
    }
  }
}

}  // namespace

int64_t up_conv_panels_weight_grad_workspace(const UpConvWeightGradArgs& args, int threads) {
  const Problem problem(args);
  return problem.v_floats + threads * problem.packed_floats + problem.chunks * problem.blocks() * problem.sum_floats;
}

void up_conv_panels_weight_grad(const UpConvWeightGradArgs& args, const Threads& threads) {
  const Problem problem(args);
  const int64_t blocks = problem.blocks(), channels = problem.shape.in_channels, outputs = problem.shape.out_channels;
  float *const v = args.workspace, *const packed = v + problem.v_floats;
  float* const sums = packed + threads.count * problem.packed_floats;
  const auto total = [&](int64_t block, int64_t i) {
    float sum = 0;
    for (int64_t chunk = 0; chunk < problem.chunks; ++chunk) {
      sum += sums[(chunk * blocks + block) * problem.sum_floats + i];
    }
    return sum;
  };
  float* const grad_weight = static_cast<float*>(args.grad_weight);
  const auto gather = [&](int64_t pixel, int64_t) { problem.gather(pixel, v); };
  const auto sum_task = [&](int64_t task, int64_t worker) {
    const int64_t chunk = task / blocks;
    sum_chunk(problem, task % blocks, problem.pixels * chunk / problem.chunks,
              problem.pixels * (chunk + 1) / problem.chunks, v, packed + worker * problem.packed_floats,
              sums + task * problem.sum_floats);
  };
  const auto write = [&](int64_t c, int64_t) {
    for (int64_t b = 0; b < blocks; ++b) {
      const LaneBlock lanes = problem.lane_block(b);
      float* const to = grad_weight + (c * outputs + lanes.first) * kParts + b / problem.part_blocks();
      for (int64_t lane = 0; lane < lanes.count; ++lane) to[lane * kParts] = total(b, c * lanes.lanes() + lane);
    }
  };
  parallel_phases(threads, phase_of_items(problem.pixels, 64, gather), Phase{problem.chunks * blocks, sum_task},
                  phase_of_items(channels, 4, write));
  for (int64_t o = 0; o < outputs; ++o) {
    float sum = 0;
    for (int64_t part = 0; part < kParts; ++part) {
      sum += total(part * problem.part_blocks() + o / kMaxLanes, channels * kMaxLanes + o % kMaxLanes);
    }
    static_cast<float*>(args.grad_bias)[o] = sum;
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
