// The gradient of the weights in a row product: for every tap r
//
//   grad_weight[r][k][o] = sum over n, y, x of  in[n][y * y_step + r][x * x_step + k] * grad[n][y][x][o]
//
// The rows of all images are cut into chunks that depend on the shape alone. A task sums one chunk for one group of
// blocks of outputs, segment by segment of about a hundred pixels, so that the segment of `in` stays in cache while all
// k and outputs pass over it. The second pass adds the chunks in their order.
#include "cpu/row_product.h"

#include "cpu/row_blocks.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Plan {
  int64_t chunks;
  int64_t chunk_floats;   // partial sums of a chunk: for each block [R][steps][lanes] weights, then [lanes] outputs
  int64_t group_outputs;  // outputs of a group
  int64_t groups;
  int64_t segment;        // pixels of a segment at most
  int64_t rows_at_once;   // output rows of a segment at most
  int64_t packed_floats;  // of a worker: the gradient of a segment, then
  int64_t read_floats;    // the buffer of the RowReader
  UNET_FAST_METHOD int64_t worker_floats() const { return packed_floats + read_floats; }
};

UNET_FAST_FUNCTION int64_t block_floats(const RowGeometry& shape, const OutputBlock& block) {
  return block.weights(shape) + block.lanes();
}

Plan make_plan(const RowProductGradient& gradient) {
  constexpr int64_t kCachedSegment = 16 << 10, kCachedPartials = 128 << 10;      // floats
  constexpr int64_t kMinPixels = 1024, kMaxChunks = 64, kMaxPartials = 4 << 20;  // of a chunk, of all, floats
  constexpr int64_t kTasks = 32;
  const RowGeometry& shape = gradient.shape;
  Plan plan = {};
  for (int64_t first = 0; first < shape.outputs;) {
    const OutputBlock block = output_block(shape, first);
    plan.chunk_floats += block_floats(shape, block);
    first += block.count;
  }
  const int64_t rows = shape.images * shape.height;
  const int64_t chunks =
      smaller(smaller(rows * shape.width / kMinPixels, kMaxChunks), kMaxPartials / plan.chunk_floats);
  plan.chunks = larger(1, smaller(chunks, rows));
  const int64_t wide_blocks = divide_up(shape.outputs, kMaxLanes);
  const int64_t cached_blocks = kCachedPartials / (kMaxLanes * shape.taps * shape.depth);
  plan.group_outputs = larger(1, smaller(cached_blocks, wide_blocks * plan.chunks / kTasks)) * kMaxLanes;
  plan.groups = divide_up(shape.outputs, plan.group_outputs);
  plan.segment = smaller(larger(64, kCachedSegment / shape.x_step), 128);
  plan.rows_at_once = larger(1, smaller(plan.segment / larger(1, shape.width), shape.height));
  plan.packed_floats = plan.segment * kMaxLanes;
  plan.read_floats = RowReader::buffer_floats(gradient.in, (plan.rows_at_once - 1) * shape.y_step + shape.taps);
  return plan;
}

// The gradient of `pixels` pixels for one block of outputs, gated and as the micro-kernel reads it: idle lanes 0, each
// value twice for group 2. Adds it to output_sum, too.
template <class T, int kVectors, int kGroup>
void pack_gradient(const RowProductGradient& gradient, const OutputBlock& block, int64_t offset, int64_t pixels,
                   float* packed, float* output_sum) {
  const T* grad = static_cast<const T*>(gradient.grad) + offset;
  const T* gate = gradient.gate ? static_cast<const T*>(gradient.gate) + offset : nullptr;
  Vector sum[kVectors] = {};
  for (int64_t x = 0; x < pixels; ++x) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const int64_t begin = v * kLanes, count = smaller(block.count - begin, kLanes);
      Vector value = load_values(grad + begin, count);
      if (gate) value = load_values(gate + begin, count) <= Vector{} ? Vector{} : value;
      sum[v] += value;
      store(packed + begin, kGroup == 2 ? repeat_lanes(lower_half(value)) : value);
    }
    grad += gradient.shape.outputs;
    gate = gate ? gate + gradient.shape.outputs : nullptr;
    packed += kVectors * kLanes;
  }
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    store(output_sum + v * kLanes, load(output_sum + v * kLanes) + sum[v]);
  }
}

template <class T>
auto packer(const OutputBlock& block) {
  return block.vectors == 2 ? pack_gradient<T, 2, 1>
         : block.group == 2 ? pack_gradient<T, 1, 2>
                            : pack_gradient<T, 1, 1>;
}

// A rectangle of output pixels, and the input under its first one.
struct Segment {
  int64_t row, rows;  // rows of all images
  int64_t x, pixels;
  const float* in;
};

// Adds a segment to the partial sums of a block. `packed` is scratch memory.
void add_segment(const RowProductGradient& gradient, const OutputBlock& block, const Segment& segment, float* packed,
                 float* partial) {
  const RowGeometry& shape = gradient.shape;
  visit_float_type(gradient.grad_dtype, [&](auto type) {
    const auto pack = packer<decltype(type)>(block);
    for (int64_t r = 0; r < segment.rows; ++r) {
      const int64_t offset = (segment.row + r) * gradient.grad_row + segment.x * shape.outputs + block.first;
      pack(gradient, block, offset, segment.pixels, packed + r * segment.pixels * block.lanes(),
           partial + block.weights(shape));
    }
  });
  const int64_t row_floats = RowReader::row_floats(gradient.in);
  const Pieces items(block.steps, max_items(block.vectors));
  for (int64_t tap = 0; tap < shape.taps; ++tap) {
    for (int64_t piece = 0; piece < items.pieces; ++piece) {
      const int64_t step = items.begin(piece), count = items.begin(piece + 1) - step;
      micro_kernel(Use::gradient, block.vectors, block.group, static_cast<int>(count))({
          .a = segment.in + tap * row_floats + step * block.group,
          .a_row = shape.y_step * row_floats,
          .a_item = block.group,
          .a_step = shape.x_step,
          .b = packed,
          .rows = segment.rows,
          .depth = segment.pixels,
          .bias = nullptr,
          .relu = false,
          .sum = partial + (tap * block.steps + step) * block.lanes(),
          .sum_item = block.lanes(),
          .next = packed,
          .adds = true,
      });
    }
  }
}

// visit(block, floats): every block of a group, and where its partial sums begin among those of the chunk.
template <class Visit>
void visit_blocks(const RowGeometry& shape, const Plan& plan, int64_t group, const Visit& visit) {
  const int64_t begin = group * plan.group_outputs, end = smaller(begin + plan.group_outputs, shape.outputs);
  int64_t floats = begin * (shape.taps * shape.depth + 1);  // the blocks before are whole
  for (int64_t first = begin; first < end;) {
    const OutputBlock block = output_block(shape, first);
    visit(block, floats);
    first += block.count;
    floats += block_floats(shape, block);
  }
}

// The partial sums of rows [row, end) for one group of outputs. Every segment is read once for all of its blocks.
void sum_chunk(const RowProductGradient& gradient, const Plan& plan, int64_t group, int64_t row, int64_t end,
               float* partials, float* memory) {
  const RowGeometry& shape = gradient.shape;
  const Pieces segments(shape.width, plan.segment);
  RowReader reader(gradient.in, memory + plan.packed_floats);
  visit_blocks(shape, plan, group, [&](const OutputBlock& block, int64_t floats) {
    memset(partials + floats, 0, block_floats(shape, block) * sizeof(float));
  });
  while (row < end) {
    const int64_t image = row / shape.height, y = row % shape.height;
    const int64_t rows = smaller(smaller(plan.rows_at_once, end - row), shape.height - y);
    const float* in = reader.read(image, y * shape.y_step, (rows - 1) * shape.y_step + shape.taps);
    for (int64_t s = 0; s < segments.pieces; ++s) {
      const int64_t x = segments.begin(s), pixels = segments.begin(s + 1) - x;
      const Segment segment = {row, rows, x, pixels, in + x * shape.x_step};
      visit_blocks(shape, plan, group, [&](const OutputBlock& block, int64_t floats) {
        add_segment(gradient, block, segment, memory, partials + floats);
      });
    }
    row += rows;
  }
}

void write_block(const RowProductGradient& gradient, const OutputBlock& block, const float* sums) {
  visit_float_type(gradient.weight.dtype, [&](auto type) {
    using T = decltype(type);
    visit_weights(gradient.shape, gradient.weight, block, [&](int64_t from, int64_t to) {
      static_cast<T*>(gradient.weight.data)[to] = from_float<T>(sums[from]);
    });
  });
  memcpy(gradient.output_sum + block.first, sums + block.weights(gradient.shape), block.count * sizeof(float));
}

}  // namespace

int64_t row_product_gradient_workspace(const RowProductGradient& gradient, int threads) {
  const Plan plan = make_plan(gradient);
  return plan.chunks * plan.chunk_floats + threads * plan.worker_floats();
}

void row_product_gradient(const RowProductGradient& gradient, float* workspace, const Threads& threads) {
  const Plan plan = make_plan(gradient);
  const int64_t rows = gradient.shape.images * gradient.shape.height;
  float* partials = workspace + threads.count * plan.worker_floats();
  parallel_tasks(threads, plan.chunks * plan.groups, [&](int64_t task, int64_t worker) {
    const int64_t chunk = task / plan.groups;
    sum_chunk(gradient, plan, task % plan.groups, rows * chunk / plan.chunks, rows * (chunk + 1) / plan.chunks,
              partials + chunk * plan.chunk_floats, workspace + worker * plan.worker_floats());
  });
  constexpr int64_t kGrain = 4096;
  parallel_for(threads, plan.chunk_floats, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = 1; chunk < plan.chunks; ++chunk) {
      const float* partial = partials + chunk * plan.chunk_floats;
      for (int64_t i = begin; i < end; ++i) partials[i] += partial[i];
    }
  });
  parallel_for(threads, plan.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      visit_blocks(gradient.shape, plan, group,
                   [&](const OutputBlock& block, int64_t floats) { write_block(gradient, block, partials + floats); });
    }
  });
}

void write_sums(const float* sums, int64_t repeats, int64_t count, DType dtype, void* out) {
  visit_float_type(dtype, [&](auto type) {
    using T = decltype(type);
    for (int64_t i = 0; i < count; ++i) {
      float sum = 0;
      for (int64_t r = 0; r < repeats; ++r) sum += sums[r * count + i];
      static_cast<T*>(out)[i] = from_float<T>(sum);
    }
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
