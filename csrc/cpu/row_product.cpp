// The row product. Outputs are cut into groups whose packed weights stay in the second-level cache; a task is a range
// of output rows for one group. A worker packs the weights of a group when it takes the group's first task, so wide
// layers (one block of outputs a group) pack each weight once, next to its use.
#include "cpu/row_product.h"

#include "cpu/row_blocks.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Plan {
  int64_t group_outputs;  // outputs of a group
  int64_t groups;
  int64_t rows_at_once;  // output rows for which the input is read in one go
  int64_t task_rows;     // output rows of a task
  int64_t tasks_per_group;
  int64_t packed_floats;  // of a worker, in this order: weights of a group,
  int64_t bias_floats;    // bias of a group, lane by lane,
  int64_t read_floats;    // buffer of the RowReader
  UNET_FAST_METHOD int64_t worker_floats() const { return packed_floats + bias_floats + read_floats; }
};

Plan make_plan(const RowProduct& product, int threads) {
  constexpr int64_t kCachedWeights = 160 << 10, kCachedRows = 64 << 10;  // floats
  constexpr int64_t kTasksPerThread = 4;
  const RowGeometry& shape = product.shape;
  Plan plan;
  const int64_t output_weights = shape.taps * shape.depth;
  const int64_t wide_blocks = divide_up(shape.outputs, kMaxLanes);
  const int64_t most_blocks = larger(1, kCachedWeights / (output_weights * kMaxLanes));
  const int64_t group_blocks = divide_up(wide_blocks, divide_up(wide_blocks, most_blocks));
  plan.group_outputs = group_blocks * kMaxLanes;
  plan.groups = divide_up(shape.outputs, plan.group_outputs);
  plan.packed_floats = group_blocks * kMaxLanes * output_weights;
  plan.bias_floats = group_blocks * kMaxLanes;

  const int64_t rows = shape.images * shape.height, row_floats = RowReader::row_floats(product.in);
  plan.rows_at_once = smaller(larger(1, kCachedRows / larger(1, row_floats * shape.y_step)), 16);
  plan.read_floats = RowReader::buffer_floats(product.in, (plan.rows_at_once - 1) * shape.y_step + shape.taps);
  const int64_t wanted_tasks = threads == 1 ? 1 : divide_up(kTasksPerThread * threads, plan.groups);
  plan.task_rows = larger(divide_up(rows, wanted_tasks), smaller(plan.rows_at_once, rows));
  plan.tasks_per_group = rows ? divide_up(rows, plan.task_rows) : 0;
  return plan;
}

template <class T>
void pack_group(const RowProduct& product, int64_t begin, int64_t end, float* packed, float* bias) {
  const RowGeometry& shape = product.shape;
  const T* weight = static_cast<const T*>(product.weight.data);
  for (OutputBlock block = output_block(shape, begin);; block = output_block(shape, block.first + block.count)) {
    if (!block.whole()) memset(packed, 0, block.weights(shape) * sizeof(float));
    visit_weights(shape, product.weight, block, [&](int64_t to, int64_t from) { packed[to] = to_float(weight[from]); });
    packed += block.weights(shape);
    memset(bias, 0, block.lanes() * sizeof(float));
    for (int64_t lane = 0; lane < block.count && product.bias; ++lane) {
      const int64_t channel = (block.first + lane) % product.weight.o.inner_count;
      bias[lane * block.group] = to_float(static_cast<const T*>(product.bias)[channel]);
    }
    bias += block.lanes();
    if (block.first + block.count >= end) break;
  }
}

// One row of output pixels for one block of outputs.
struct RowKernel {
  const RowProduct& product;
  const OutputBlock block;
  const Pieces pieces;
  const MicroKernel kernels[2];  // for a piece of the smaller and of the larger size

  RowKernel(const RowProduct& product, const OutputBlock& block)
      : product(product),
        block(block),
        pieces(product.shape.width, max_items(block.vectors)),
        kernels{micro_kernel(Use::product, block.vectors, block.group, static_cast<int>(larger(1, smaller_piece()))),
                micro_kernel(Use::product, block.vectors, block.group, static_cast<int>(smaller_piece() + 1))} {}

  // Rounds to the type of the result, leaves out idle lanes and applies the mask.
  template <class T>
  UNET_FAST_METHOD void store_sums(const float* sums, int64_t items, const T* mask, T* pixels) const {
    for (int64_t i = 0; i < items; ++i, sums += kMaxLanes) {
      for (int64_t lane = 0; lane < block.count; lane += kLanes) {
        const int64_t lanes = smaller(block.count - lane, kLanes), offset = i * product.shape.outputs + lane;
        const Vector sum = load(sums + lane);
        store_values(pixels + offset, mask ? gated(sum, load_values(mask + offset, lanes)) : sum, lanes);
      }
    }
  }

  UNET_FAST_METHOD int64_t smaller_piece() const { return product.shape.width / pieces.pieces; }

  template <class T>
  void run(const float* in, const float* weights, const float* bias, const T* mask, T* out) const {
    const RowGeometry& shape = product.shape;
    alignas(64) float sums[kMaxItems * kMaxLanes];
    const bool direct = std::is_same_v<T, float> && block.whole() && !mask;
    MicroKernelArgs args = {
        .a = nullptr,
        .a_row = RowReader::row_floats(product.in),
        .a_item = shape.x_step,
        .a_step = block.group,
        .b = weights,
        .rows = shape.taps,
        .depth = block.steps,
        .bias = bias,
        .relu = product.relu,
        .sum = sums,
        .sum_item = direct ? shape.outputs : kMaxLanes,
        .next = weights,
    };
    for (int64_t piece = 0; piece < pieces.pieces; ++piece) {
      const int64_t begin = pieces.begin(piece), items = pieces.begin(piece + 1) - begin;
      const int64_t first = begin * shape.outputs + block.first;
      T* const pixels = out + first;
      args.a = in + begin * shape.x_step;
      if (shape.taps == 1 && begin + 3 * items <= shape.width) {
        // Every pixel is read just once, and a dozen of them side by side: the machine does not foresee that.
        prefetch(args.a + 2 * items * shape.x_step, items * shape.x_step * sizeof(float));
      }
      if constexpr (std::is_same_v<T, float>) {
        if (direct) args.sum = pixels;
      }
      kernels[items > smaller_piece()](args);
      if (!direct) store_sums(sums, items, mask ? mask + first : nullptr, pixels);
    }
  }
};

template <class T>
void run_task(const RowProduct& product, const Plan& plan, int64_t group, int64_t row, int64_t end, float* memory) {
  const RowGeometry& shape = product.shape;
  const int64_t first_output = group * plan.group_outputs;
  const int64_t end_output = smaller(first_output + plan.group_outputs, shape.outputs);
  RowReader reader(product.in, memory + plan.packed_floats + plan.bias_floats);
  while (row < end) {
    const int64_t image = row / shape.height, y = row % shape.height;
    const int64_t rows = smaller(smaller(plan.rows_at_once, end - row), shape.height - y);
    const float* in = reader.read(image, y * shape.y_step, (rows - 1) * shape.y_step + shape.taps);
    const float *weights = memory, *bias = memory + plan.packed_floats;
    for (int64_t first = first_output; first < end_output;) {
      const OutputBlock block = output_block(shape, first);
      const RowKernel kernel(product, block);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t line = (row + r) * product.out_row;
        kernel.run(in + r * shape.y_step * RowReader::row_floats(product.in), weights, bias,
                   product.mask ? static_cast<const T*>(product.mask) + line : nullptr,
                   static_cast<T*>(product.out) + line);
      }
      first += block.count;
      weights += block.weights(shape);
      bias += block.lanes();
    }
    row += rows;
  }
}

// Each worker's memory begins with the number of the group whose weights it has packed.
constexpr int64_t kHeaderFloats = 16;
static_assert(kHeaderFloats * sizeof(float) >= sizeof(int64_t));

}  // namespace

int64_t row_product_workspace(const RowProduct& product, int threads) {
  return threads * (kHeaderFloats + make_plan(product, threads).worker_floats());
}

void row_product(const RowProduct& product, float* workspace, const Threads& threads) {
  const Plan plan = make_plan(product, threads.count);
  const int64_t worker_floats = kHeaderFloats + plan.worker_floats();
  const int64_t rows = product.shape.images * product.shape.height;
  if (rows == 0 || product.shape.width == 0) return;
  constexpr int64_t kNone = -1;
  for (int worker = 0; worker < threads.count; ++worker) {
    memcpy(workspace + worker * worker_floats, &kNone, sizeof kNone);
  }
  parallel_tasks(threads, plan.groups * plan.tasks_per_group, [&](int64_t task, int64_t worker) {
    const int64_t group = task / plan.tasks_per_group, begin = task % plan.tasks_per_group * plan.task_rows;
    const int64_t end = smaller(begin + plan.task_rows, rows);
    float* header = workspace + worker * worker_floats;
    float* memory = header + kHeaderFloats;
    int64_t packed_group;
    memcpy(&packed_group, header, sizeof packed_group);
    if (packed_group != group) {
      const int64_t first = group * plan.group_outputs;
      visit_float_type(product.weight.dtype, [&](auto type) {
        pack_group<decltype(type)>(product, first, smaller(first + plan.group_outputs, product.shape.outputs), memory,
                                   memory + plan.packed_floats);
      });
      memcpy(header, &group, sizeof group);
    }
    visit_float_type(product.out_dtype,
                     [&](auto type) { run_task<decltype(type)>(product, plan, group, begin, end, memory); });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
