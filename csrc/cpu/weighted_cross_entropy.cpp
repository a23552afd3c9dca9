// weighted_cross_entropy on the CPU: 64 pixels at a time, whatever the strides. Each class's logits of the 64 pixels
// are read into a small array, and every loop over 64 becomes vector code. Up to 16 classes stay there; of more, each
// is read again for the sum of the exponentials and for the gradient.
#include "cpu/kernels.h"

#include "core/exponential.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int64_t kPixels = 64;                     // at a time
constexpr int64_t kMostKept = 16;                   // classes
constexpr int32_t kIgnored = -1, kOutOfRange = -2;  // instead of a class

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

// The logits, classes and weights of up to kPixels neighbours in a row, and what a softmax needs of them.
// Behind `count` pixels stand ignored ones.
template <class T>
struct Block {
  const WeightedLogits& input;
  const T* logits;  // of the first pixel
  int64_t stride_k, stride_x, count;
  bool is_kept;  // whether all classes stay in `value`
  int32_t of_class[kPixels];
  float weight[kPixels];
  float top[kPixels];                 // the greatest logit
  float sum[kPixels];                 // of exp(z - top)
  float own[kPixels];                 // logit of the pixel's class
  float value[kMostKept][kPixels];    // logits z, then exp(z - top) of each class, or of the one at hand
  int64_t bad_class = kIgnoredClass;  // or one out of range

  Block(const WeightedLogits& input, const Rows& rows, int64_t first, int64_t count)
      : input(input),
        logits(static_cast<const T*>(input.logits) + rows.offset(first)),
        stride_k(rows.stride_k),
        stride_x(rows.stride_x),
        count(count),
        is_kept(input.class_count <= kMostKept) {
    if (input.classes_dtype == DType::uint8) {
      read_classes(static_cast<const uint8_t*>(input.classes) + first);
    } else {
      read_classes(static_cast<const int64_t*>(input.classes) + first);
    }
    for (int64_t i = 0; i < kPixels; ++i) weight[i] = 1;
    if (input.weights) memcpy(weight, input.weights + first, sizeof(float) * static_cast<size_t>(count));
    const bool two_channels_last = input.class_count == 2 && stride_k == 1 && stride_x == 2;
    if (two_channels_last && count == kPixels) {
      read_pairs();
    } else if (is_kept) {
      for (int64_t k = 0; k < input.class_count; ++k) read(k);
    }
    find_top();
    if (input.class_count == 2) {
      find_sum_of_two();
    } else {
      find_sum();
    }
  }

  template <class Class>
  void read_classes(const Class* __restrict classes) {
    for (int64_t i = count; i < kPixels; ++i) of_class[i] = kIgnored;
    const int64_t class_count = input.class_count;
    int32_t least = 0;
    for (int64_t i = 0; i < count; ++i) {
      const bool in_range = classes[i] >= 0 && static_cast<int64_t>(classes[i]) < class_count;
      const int32_t other = classes[i] == kIgnoredClass ? kIgnored : kOutOfRange;
      of_class[i] = in_range ? static_cast<int32_t>(classes[i]) : other;
      least = of_class[i] < least ? of_class[i] : least;
    }
    for (int64_t i = 0; i < count && least == kOutOfRange; ++i) {
      if (of_class[i] == kOutOfRange) bad_class = static_cast<int64_t>(classes[i]);
    }
  }

  void read_pairs() {
    const T* __restrict from = logits;
    for (int64_t i = 0; i < kPixels; ++i) {
      value[0][i] = to_float(from[2 * i]);
      value[1][i] = to_float(from[2 * i + 1]);
    }
  }

  // Reads the logits of class k.
  float* read(int64_t k) {
    const T* __restrict from = logits + k * stride_k;
    float* __restrict z = value[is_kept ? k : 0];
    if (count < kPixels) {
      for (int64_t i = 0; i < kPixels; ++i) z[i] = i < count ? to_float(from[i * stride_x]) : 0.0f;
    } else if (stride_x == 1) {
      for (int64_t i = 0; i < kPixels; ++i) z[i] = to_float(from[i]);
    } else {
      for (int64_t i = 0; i < kPixels; ++i) z[i] = to_float(from[i * stride_x]);
    }
    return z;
  }

  float* logits_of(int64_t k) { return is_kept ? value[k] : read(k); }

  void find_top() {
    memcpy(top, logits_of(0), sizeof top);
    for (int64_t k = 1; k < input.class_count; ++k) {
      const float* z = logits_of(k);
      for (int64_t i = 0; i < kPixels; ++i) top[i] = z[i] > top[i] ? z[i] : top[i];
    }
  }

  // The same as find_sum: of two exponentials one is exp(0) = 1.
  void find_sum_of_two() {
    float* __restrict first = value[0], * __restrict second = value[1];
    for (int64_t i = 0; i < kPixels; ++i) {
      const bool rises = first[i] < second[i];
      own[i] = of_class[i] == 0 ? first[i] : of_class[i] == 1 ? second[i] : 0.0f;
      const float lower = exp_nonpositive((rises ? first[i] : second[i]) - top[i]);
      first[i] = rises ? lower : 1.0f;
      second[i] = rises ? 1.0f : lower;
      sum[i] = 1.0f + lower;
    }
  }

  void find_sum() {
    memset(sum, 0, sizeof sum);
    memset(own, 0, sizeof own);
    for (int32_t k = 0; k < input.class_count; ++k) {
      float* __restrict z = logits_of(k);
      for (int64_t i = 0; i < kPixels; ++i) {
        own[i] = of_class[i] == k ? z[i] : own[i];
        z[i] = exp_nonpositive(z[i] - top[i]);
        sum[i] += z[i];
      }
    }
  }

  // exp(z - top) of class k.
  float* exponentials(int64_t k) {
    if (is_kept) return value[k];
    float* __restrict z = read(k);
    for (int64_t i = 0; i < kPixels; ++i) z[i] = exp_nonpositive(z[i] - top[i]);
    return z;
  }
};

// block(Block&, first pixel) for the blocks of one chunk. A block never crosses the end of a row.
template <class T, class Function>
void for_each_block(const WeightedLogits& input, const Rows& rows, int64_t chunk, const Function& function) {
  const int64_t begin = chunk * kLossChunk, pixels = input.pixels();
  const int64_t end = begin + kLossChunk < pixels ? begin + kLossChunk : pixels;
  for (int64_t first = begin; first < end;) {
    const int64_t in_row = rows.length - first % rows.length, in_chunk = end - first;
    const int64_t most = in_row < in_chunk ? in_row : in_chunk, count = most < kPixels ? most : kPixels;
    Block<T> block(input, rows, first, count);
    function(block, first);
    first += count;
  }
}

template <class T>
LossPartial sum_chunk(const WeightedLogits& input, const Rows& rows, int64_t chunk) {
  double loss[kPixels] = {}, weight[kPixels] = {};
  LossPartial partial = {0, 0, kIgnoredClass};
  for_each_block<T>(input, rows, chunk, [&](const Block<T>& block, int64_t) {
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

// Writes the gradient of one block, w / Z (softmax - onehot) = w / Z / sum (exp(z - top) - sum onehot): in this form
// the difference is the only rounding near 0.
template <class T>
void write_gradient(Block<T>& block, float scale, T* __restrict out, int64_t stride_k, int64_t stride_x) {
  float factor[kPixels];
  for (int64_t i = 0; i < kPixels; ++i) factor[i] = scale * block.weight[i] / block.sum[i];
  const int64_t class_count = block.input.class_count;
  const bool channels_last = block.is_kept && stride_k == 1 && stride_x == class_count;
  for (int32_t k = 0; k < class_count; ++k) {
    float* __restrict grad = block.exponentials(k);
    for (int64_t i = 0; i < kPixels; ++i) {
      const float value = factor[i] * (grad[i] - (block.of_class[i] == k ? block.sum[i] : 0.0f));
      grad[i] = block.of_class[i] != kIgnored ? value : 0.0f;
    }
    if (channels_last) continue;
    for (int64_t i = 0; i < block.count; ++i) out[k * stride_k + i * stride_x] = from_float<T>(grad[i]);
  }
  if (!channels_last) return;
  if (class_count == 2) {
    for (int64_t i = 0; i < block.count; ++i) {
      out[2 * i] = from_float<T>(block.value[0][i]);
      out[2 * i + 1] = from_float<T>(block.value[1][i]);
    }
  } else {
    for (int64_t i = 0; i < block.count; ++i) {
      for (int64_t k = 0; k < class_count; ++k) out[i * class_count + k] = from_float<T>(block.value[k][i]);
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
  visit_float_type(input.logits_dtype, [&](auto logit) {
    using T = decltype(logit);
    parallel_tasks(threads, (chunks + kChunksPerTask - 1) / kChunksPerTask, [&](int64_t task, int64_t) {
      const int64_t begin = task * kChunksPerTask, end = begin + kChunksPerTask;
      for (int64_t chunk = begin; chunk < end && chunk < chunks; ++chunk) {
        for_each_block<T>(input, rows, chunk, [&](Block<T>& block, int64_t first) {
          T* grad = static_cast<T*>(args.grad_logits) + grad_rows.offset(first);
          write_gradient(block, scale, grad, grad_rows.stride_k, grad_rows.stride_x);
        });
      }
    });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
