// A task is a few rows of x: their pixels are gathered into panels, and every block of outputs is multiplied with them.
//
//   V   [K / 16 panels][pixels][16]        K: C forward, (a, b, o) for the gradient of x
//   U   [blocks of outputs][K][lanes]      the weight, packed by all threads before
//
// or, for a SplitProduct, U and then V in its parts, and the sums of a block on their way to memory.
#include "cpu/up_conv_panels.h"

#include "cpu/item_product.h"
#include "cpu/split_product.h"
#include "cpu/transpose.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int64_t kLeastSplitDepth = 64;  // below, splitting takes longer than it saves

struct Plan {
  int64_t depth;                // K
  int64_t parts, part_outputs;  // outputs come in parts that lie apart in memory
  int64_t rows, width;          // of pixels of x, through all images
  int64_t task_rows;
  bool split;  // the products are SplitProducts
  int64_t u_floats, v_floats;
  int64_t split_u_floats, scratch_floats;  // U in parts; of a worker: V in parts, and the sums of a block

  Plan(const UpConvShape& shape, bool forward)
      : depth(forward ? shape.in_channels : kParts * shape.out_channels),
        parts(forward ? kParts : 1),
        part_outputs(forward ? shape.out_channels : shape.in_channels),
        rows(shape.images * shape.height),
        width(shape.width) {
    constexpr int64_t kMostFloats = 96 << 10, kMostPixels = 200;  // of V: it shares the second-level cache with U
    constexpr int64_t kTasks = 8, kLeastPixels = 24;  // to share out; and so that U, read once a task, keeps up
    const int64_t most = smaller(kMostPixels, kMostFloats / depth) / width;
    task_rows = larger(1, smaller(most, larger(divide_up(kLeastPixels, width), rows / kTasks)));
    split = kSplitProducts && depth % (2 * kPanel) == 0 && depth >= kLeastSplitDepth;
    u_floats = parts * part_blocks() * depth * kMaxLanes;
    v_floats = task_rows * width * depth;
    split_u_floats = split ? blocks() * split_block() : 0;
    scratch_floats =
        split ? task_rows * width * kMaxLanes + SplitProduct::scratch_floats(task_rows * width, depth / (2 * kPanel))
              : 0;
  }
  int64_t floats(int threads) const { return u_floats + split_u_floats + threads * (v_floats + scratch_floats); }

  int64_t part_blocks() const { return LaneBlock::blocks(part_outputs); }
  int64_t blocks() const { return parts * part_blocks(); }
  int64_t panels() const { return depth / kPanel; }
  LaneBlock lane_block(int64_t block) const { return LaneBlock(block % part_blocks(), part_outputs); }
  const float* u_of(const float* u, int64_t block) const { return u + block * depth * kMaxLanes; }
  int64_t split_panels() const { return depth / (2 * kPanel); }
  int64_t split_block() const { return SplitProduct::right_floats(split_panels(), kMaxVectors); }
};

// The products of a task whose V is gathered; behind it lie the sums of a block and the scratch memory.
template <class Place>
void run_split(const Plan& plan, const float* bias, int64_t pixel_stride, bool streams, const float* split_u, float* v,
               int64_t rows, const Place& place) {
  const int64_t pixels = rows * plan.width;
  float* const sums = v + plan.v_floats;
  const SplitProduct product(pixels, plan.split_panels(), sums + plan.task_rows * plan.width * kMaxLanes);
  product.split_left(v, plan.depth);
  for (int64_t b = 0; b < plan.blocks(); ++b) {
    const LaneBlock block = plan.lane_block(b);
    product.run(block.vectors, split_u + b * plan.split_block(), split_u + (b + 1) % plan.blocks() * plan.split_block(),
                sums);
    const float* sum = sums;
    for (int64_t row = 0; row < rows; ++row) {
      float* to = place(row, b, block);
      for (int64_t pixel = 0; pixel < plan.width; ++pixel, to += pixel_stride) {
        for (int64_t lane = 0; lane < block.lanes(); lane += kLanes, sum += kLanes) {
          const Vector result = load(sum) + (bias ? load(bias + block.first + lane) : Vector{});
          streams ? stream(to + lane, result) : store(to + lane, result);
        }
      }
    }
  }
  finish_streams();
}

// pack(u): the phase that makes U.
// gather(row, to, panel): copies the K values of a row's pixels, value k to to[k / 16 * panel + pixel * 16 + k % 16].
// place(row, b, block): where lane 0 of pixel 0 of a row goes for block b; its pixels lie `pixel_stride` apart.
template <class Pack, class Gather, class Place>
void run(const Plan& plan, const float* bias, int64_t pixel_stride, bool streams, float* workspace,
         const Threads& threads, const Pack& pack, const Gather& gather, const Place& place) {
  float *const u = workspace, *const split_u = u + plan.u_floats;
  const auto split_block = [&](int64_t b, int64_t) {
    SplitProduct::split_right(plan.u_of(u, b), plan.split_panels(), plan.lane_block(b).vectors,
                              split_u + b * plan.split_block());
  };
  const Pieces tasks(plan.rows, plan.task_rows);
  const auto run_task = [&](int64_t task, int64_t worker) {
    float* const v = split_u + plan.split_u_floats + worker * (plan.v_floats + plan.scratch_floats);
    const int64_t begin = tasks.begin(task), rows = tasks.begin(task + 1) - begin, panel = rows * plan.width * kPanel;
    for (int64_t row = 0; row < rows; ++row) gather(begin + row, v + row * plan.width * kPanel, panel);
    if (plan.split) {
      run_split(plan, bias, pixel_stride, streams, split_u, v, rows,
                [&](int64_t row, int64_t b, const LaneBlock& block) { return place(begin + row, b, block); });
      return;
    }
    for (int64_t b = 0; b < plan.blocks(); ++b) {
      const LaneBlock block = plan.lane_block(b);
      const ItemProduct product(Use::panels, block.vectors, plan.width);
      for (int64_t row = 0; row < rows; ++row) {
        product.run({
            .a = v + row * plan.width * kPanel,
            .a_row = panel,
            .a_item = kPanel,
            .a_step = 1,
            .b = plan.u_of(u, b),
            .rows = plan.panels(),
            .depth = kPanel,
            .bias = bias ? bias + block.first : nullptr,
            .relu = false,
            .sum = place(begin + row, b, block),
            .sum_item = pixel_stride,
            .next = row == 0 ? plan.u_of(u, (b + 1) % plan.blocks()) : plan.u_of(u, b),
            .streams = streams,
        });
      }
    }
    finish_streams();
  };
  parallel_phases(threads, pack(u), Phase{plan.split ? plan.blocks() : 0, split_block}, Phase{tasks.pieces, run_task});
}

}  // namespace

bool takes_panels(const UpConvShape& shape) {
  return shape.dtype == DType::float32 && shape.in_channels % kPanel == 0 && shape.out_channels % kPanel == 0;
}

int64_t up_conv_panels_workspace(const UpConvShape& shape, int threads) {
  const Plan forward(shape, true), data_grad(shape, false);
  return larger(forward.floats(threads), data_grad.floats(threads));
}

void up_conv_panels(const UpConvArgs& args, const Threads& threads) {
  const UpConvShape& shape = args.shape;
  const Plan plan(shape, true);
  const int64_t c_count = shape.in_channels, o_count = shape.out_channels, y_row = 2 * shape.width * o_count;
  // The weight of a channel is a row of (o, a, b); each part is collected from it.
  const auto pack = [&](float* u) {
    return phase_of_items(c_count, 8, [&plan, &args, o_count, u](int64_t c, int64_t) {
      const float* from = static_cast<const float*>(args.weight) + c * o_count * kParts;
      for (int64_t o = 0; o < o_count; o += kLanes, from += kParts * kLanes) {
        Vector parts[kParts];
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) parts[i] = load(from + i * kLanes);
        deinterleave_quarters(parts);
        const int64_t b = o / kMaxLanes, lanes = plan.lane_block(b).lanes();
        float* const to = u + b * plan.depth * kMaxLanes + c * lanes + o % kMaxLanes;
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) store(to + i * plan.part_blocks() * plan.depth * kMaxLanes, parts[i]);
      }
    });
  };
  const auto gather = [&](int64_t row, float* to, int64_t panel) {
    const float* x = static_cast<const float*>(args.x) + row * shape.width * c_count;
    for (int64_t pixel = 0; pixel < shape.width; ++pixel, x += c_count, to += kPanel) {
      copy_to_panels(x, c_count, to, panel);
    }
  };
  const auto place = [&](int64_t row, int64_t b, const LaneBlock& block) {
    const int64_t part = b / plan.part_blocks();
    return static_cast<float*>(args.y) + (2 * row + part / 2) * y_row + part % 2 * o_count + block.first;
  };
  run(plan, static_cast<const float*>(args.bias), 2 * o_count,
      streams_pay(args.y, kParts * plan.rows * plan.width * o_count), args.workspace, threads, pack, gather, place);
}

void up_conv_panels_data_grad(const UpConvDataGradArgs& args, const Threads& threads) {
  const UpConvShape& shape = args.shape;
  const Plan plan(shape, false);
  const int64_t c_count = shape.in_channels, o_count = shape.out_channels, y_row = 2 * shape.width * o_count;
  // The weight of a channel c is a row of (o, a, b); squares of it are turned, so that c becomes the lane.
  const auto pack = [&](float* u) {
    const int64_t squares = kParts * o_count / kLanes;
    return phase_of_items(plan.blocks() * squares, 8, [&plan, &args, o_count, squares, u](int64_t i, int64_t) {
      const LaneBlock block = plan.lane_block(i / squares);
      const int64_t column = i % squares * kLanes, c_row = kParts * o_count;
      for (int64_t lane = 0; lane < block.lanes(); lane += kLanes) {
        const float* from = static_cast<const float*>(args.weight) + (block.first + lane) * c_row + column;
        Vector square[kLanes];
        for (int j = 0; j < kLanes; ++j) square[j] = load(from + j * c_row);
        transpose(square);
        for (int j = 0; j < kLanes; ++j) {
          const int64_t o = (column + j) / kParts, part = (column + j) % kParts;
          store(u + i / squares * plan.depth * kMaxLanes + (part * o_count + o) * block.lanes() + lane, square[j]);
        }
      }
    });
  };
  const auto gather = [&](int64_t row, float* to, int64_t panel) {
    for (int64_t pixel = 0; pixel < shape.width; ++pixel, to += kPanel) {
      for (int64_t part = 0; part < kParts; ++part) {
        const float* grad =
            static_cast<const float*>(args.grad) + (2 * row + part / 2) * y_row + (2 * pixel + part % 2) * o_count;
        copy_to_panels(grad, o_count, to + part * o_count / kPanel * panel, panel);
      }
    }
  };
  const auto place = [&](int64_t row, int64_t, const LaneBlock& block) {
    return static_cast<float*>(args.grad_x) + row * shape.width * c_count + block.first;
  };
  run(plan, nullptr, c_count, false, args.workspace, threads, pack, gather, place);
}

}  // namespace unet_fast::UNET_FAST_ISA
