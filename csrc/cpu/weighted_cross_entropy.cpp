// weighted_cross_entropy on the CPU: blocks of 64 pixels (cpu/softmax_block.h), which stay in the first-level cache
// from the logits to the loss or the gradient.
#include "cpu/kernels.h"

#include "cpu/softmax_block.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// Where the values of a [N, K, H, W] tensor lie. Dimensions that follow each other in memory are one long row.
struct Rows {
  int64_t length;  // pixels of a row
  int64_t height;  // rows of an image
  int64_t stride_n, stride_k, stride_y, stride_x;

  int64_t offset(int64_t pixel) const {
    const int64_t row = pixel / length;
    return row / height * stride_n + row % height * stride_y + pixel % length * stride_x;
  }
  bool rows_follow(int64_t width) const { return stride_y == width * stride_x; }
  bool images_follow(int64_t area) const { return stride_n == area * stride_x; }
};

// The rows of two tensors of one shape, as long as both allow.
void join_rows(const WeightedLogits& input, Rows& first, Rows& second) {
  const int64_t area = input.height * input.width;
  if (!first.rows_follow(input.width) || !second.rows_follow(input.width)) return;
  const bool one_row = first.images_follow(area) && second.images_follow(area);
  first.length = second.length = one_row ? input.images * area : area;
  first.height = second.height = 1;
}

Rows rows_of(const WeightedLogits& input, int64_t stride_n, int64_t stride_k, int64_t stride_y, int64_t stride_x) {
  return {input.width, input.height, stride_n, stride_k, stride_y, stride_x};
}

Rows logit_rows(const WeightedLogits& input) {
  return rows_of(input, input.stride_n, input.stride_k, input.stride_y, input.stride_x);
}

// function(block, first pixel) for the blocks of one chunk. A block never crosses the end of a row.
template <class T, class Function>
void for_each_block(const WeightedLogits& input, const Rows& rows, int64_t chunk, const Function& function) {
  const int64_t begin = chunk * kLossChunk, pixels = input.pixels();
  const int64_t end = begin + kLossChunk < pixels ? begin + kLossChunk : pixels;
  for (int64_t first = begin; first < end;) {
    const int64_t in_row = rows.length - first % rows.length, in_chunk = end - first;
    const int64_t most = in_row < in_chunk ? in_row : in_chunk, count = most < kPixels ? most : kPixels;
    const T* logits = static_cast<const T*>(input.logits) + rows.offset(first);
    SoftmaxBlock<T> block(input, logits, rows.stride_k, rows.stride_x, first, count, count < in_row);
    function(block, first);
    first += count;
  }
}

template <class T>
LossPartial sum_chunk(const WeightedLogits& input, const Rows& rows, int64_t chunk) {
  double loss[kPixels] = {}, weight[kPixels] = {};
  LossPartial partial = {0, 0, kIgnoredClass};
  for_each_block<T>(input, rows, chunk, [&](const SoftmaxBlock<T>& block, int64_t) {
    if (block.bad_class != kIgnoredClass) partial.bad_class = block.bad_class;
    float own[kPixels], counted[kPixels];
    for (int64_t i = 0; i < kPixels; ++i) {
      const float entropy = log_positive(block.sum[i]) + (block.top[i] - block.own[i]), w = block.weight[i];
      own[i] = block.of_class[i] != kIgnored ? entropy : 0.0f;
      counted[i] = block.of_class[i] != kIgnored ? w : 0.0f;
    }
    for (int64_t i = 0; i < kPixels; ++i) {
      loss[i] += static_cast<double>(counted[i]) * static_cast<double>(own[i]);
      weight[i] += static_cast<double>(counted[i]);
    }
  });
  for (int64_t i = 0; i < kPixels; ++i) {
    partial.loss += loss[i];
    partial.weight += weight[i];
  }
  return partial;
}

// Turns the exponentials of a block into the gradient w / Z (softmax - onehot) = w / Z / sum (exp(z - top) - sum
// onehot): in this form the difference is the only rounding near 0.
template <class T>
void find_gradient(SoftmaxBlock<T>& block, float scale) {
  for (int64_t i = 0; i < kPixels; i += kLanes) {
    const Classes classes = load_classes(block.of_class + i);
    const Vector sum = load(block.sum + i), factor = scale * load(block.weight + i) / sum;
    for (int32_t k = 0; k < block.input.class_count; ++k) {
      const Vector value = factor * (load(block.value[k] + i) - (classes == k ? sum : Vector{}));
      store(block.value[k] + i, classes != kIgnored ? value : Vector{});
    }
  }
}

// `streams`: whether to write past the caches where whole lines are written at once.
template <class T>
void store_row(const float* __restrict values, int64_t count, T* __restrict to, bool streams) {
  if constexpr (std::is_same_v<T, float>) {
    if (streams && reinterpret_cast<uintptr_t>(to) % sizeof(Vector) == 0) {
      for (int64_t i = 0; i < count; i += kLanes) stream(to + i, load(values + i));
      return;
    }
  }
  for (int64_t i = 0; i < count; ++i) to[i] = from_float<T>(values[i]);
}

// The values of a whole block in channels_last memory, at least 3 classes.
void write_transposed(const SoftmaxBlock<float>& block, float* out, bool streams) {
  alignas(64) float packed[kIgnoredClass * kPixels + 1];  // behind the last of three classes stands a fourth
  const int64_t class_count = block.input.class_count;
  for_each_quad(class_count, [&](int64_t k, int64_t i) {
    const auto* values = reinterpret_cast<const float (*)[kPixels]>(&block.value[k][i]);
    write_quads(values, class_count, packed + i * class_count + k);
  });
  store_row(packed, class_count * kPixels, out, streams);
}

template <class T>
void write_gradient(const SoftmaxBlock<T>& block, T* __restrict out, int64_t stride_k, int64_t stride_x, bool streams) {
  const int64_t class_count = block.input.class_count;
  if (SoftmaxBlock<T>::is_channels_last(class_count, stride_k, stride_x)) {
    if (class_count == 2) {
      for (int64_t i = 0; i < block.count; ++i) {
        out[2 * i] = from_float<T>(block.value[0][i]);
        out[2 * i + 1] = from_float<T>(block.value[1][i]);
      }
      return;
    }
    if constexpr (std::is_same_v<T, float>) {
      if (block.count == kPixels && class_count >= 3) {
        write_transposed(block, out, streams);
        return;
      }
    }
  }
  for (int64_t k = 0; k < class_count; ++k) {
    T* __restrict to = out + k * stride_k;
    if (stride_x == 1 && block.count == kPixels) {
      store_row(block.value[k], kPixels, to, streams);
    } else {
      for (int64_t i = 0; i < block.count; ++i) to[i * stride_x] = from_float<T>(block.value[k][i]);
    }
  }
}

}  // namespace

void weighted_cross_entropy(const WeightedCrossEntropyArgs& args, const Threads& threads) {
  constexpr int64_t kChunksPerTask = 4;
  const WeightedLogits& input = args.input;
  const int64_t chunks = (input.pixels() + kLossChunk - 1) / kLossChunk;
  Rows rows = logit_rows(input);
  join_rows(input, rows, rows);
  visit_float_type(input.logits_dtype, [&](auto logit) {
    parallel_tasks(threads, (chunks + kChunksPerTask - 1) / kChunksPerTask, [&](int64_t task, int64_t) {
      const int64_t begin = task * kChunksPerTask, end = begin + kChunksPerTask;
      for (int64_t chunk = begin; chunk < end && chunk < chunks; ++chunk) {
        args.partials[chunk] = sum_chunk<decltype(logit)>(input, rows, chunk);
      }
    });
  });
  LossPartial total = {0, 0, kIgnoredClass};
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    total.loss += args.partials[chunk].loss;
    total.weight += args.partials[chunk].weight;
    if (args.partials[chunk].bad_class != kIgnoredClass) total.bad_class = args.partials[chunk].bad_class;
  }
  *args.scale = loss_scale(args.normalization, total.weight, input.pixels());
  *args.loss = static_cast<float>(total.loss * *args.scale);
  *args.bad_class = total.bad_class;
}

void weighted_cross_entropy_backward(const WeightedCrossEntropyBackwardArgs& args, const Threads& threads) {
  constexpr int64_t kChunksPerTask = 4;
  const WeightedLogits& input = args.input;
  const int64_t chunks = (input.pixels() + kLossChunk - 1) / kLossChunk;
  Rows rows = logit_rows(input);
  Rows grad_rows = rows_of(input, args.grad_stride_n, args.grad_stride_k, args.grad_stride_y, args.grad_stride_x);
  join_rows(input, rows, grad_rows);
  const auto scale = static_cast<float>(*args.grad * *args.scale);
  const bool streams = streams_pay(args.grad_logits, input.pixels() * input.class_count);
  visit_float_type(input.logits_dtype, [&](auto logit) {
    using T = decltype(logit);
    parallel_tasks(threads, (chunks + kChunksPerTask - 1) / kChunksPerTask, [&](int64_t task, int64_t) {
      const int64_t begin = task * kChunksPerTask, end = begin + kChunksPerTask;
      for (int64_t chunk = begin; chunk < end && chunk < chunks; ++chunk) {
        for_each_block<T>(input, rows, chunk, [&](SoftmaxBlock<T>& block, int64_t first) {
          T* grad = static_cast<T*>(args.grad_logits) + grad_rows.offset(first);
          find_gradient(block, scale);
          write_gradient(block, grad, grad_rows.stride_k, grad_rows.stride_x, streams);
        });
      }
      finish_streams();
    });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
