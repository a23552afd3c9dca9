// The logits, classes and weights of up to kPixels neighbours in a row, whatever their strides, and what a softmax
// needs of them. Behind `count` pixels stand ignored ones.
#pragma once

#include "cpu/transpose.h"
#include "cpu/vector_exponential.h"
#include "ops/weighted_cross_entropy.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int64_t kPixels = 64;
constexpr int32_t kIgnored = -1, kOutOfRange = -2;  // instead of a class

typedef int32_t Classes __attribute__((vector_size(sizeof(Vector))));

UNET_FAST_FUNCTION Classes load_classes(const int32_t* from) {
  Classes result;
  memcpy(&result, from, sizeof result);
  return result;
}

typedef float Quad __attribute__((vector_size(4 * sizeof(float))));

UNET_FAST_FUNCTION Quad load_quad(const float* from) {
  Quad quad;
  memcpy(&quad, from, sizeof quad);
  return quad;
}

UNET_FAST_FUNCTION void store_quad(float* to, Quad quad) { memcpy(to, &quad, sizeof quad); }

// values[c][i] = from[i * stride + c] for kLanes pixels i and 4 classes c.
UNET_FAST_FUNCTION void read_quads(const float* from, int64_t stride, float (*values)[kPixels]) {
  Vector rows[4];
  for (int r = 0; r < 4; ++r, from += stride) {
    const Quad first = load_quad(from);
#if defined(__AVX512F__)
    const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(first), load_quad(from + 4 * stride), 1);
    const __m256 high =
        _mm256_insertf128_ps(_mm256_castps128_ps256(load_quad(from + 8 * stride)), load_quad(from + 12 * stride), 1);
    rows[r] = _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
#elif defined(__AVX2__)
    rows[r] = _mm256_insertf128_ps(_mm256_castps128_ps256(first), load_quad(from + 4 * stride), 1);
#else
    rows[r] = first;
#endif
  }
  transpose(rows);
  for (int c = 0; c < 4; ++c) store(values[c], rows[c]);
}

// The reverse, pixel after pixel.
UNET_FAST_FUNCTION void write_quads(const float (*values)[kPixels], int64_t stride, float* to) {
  Vector rows[4];
  for (int c = 0; c < 4; ++c) rows[c] = load(values[c]);
  transpose(rows);
  alignas(64) float quads[4][kLanes];
  for (int r = 0; r < 4; ++r) store(quads[r], rows[r]);
  for (int i = 0; i < kLanes; ++i) store_quad(to + i * stride, load_quad(&quads[i % 4][i / 4 * 4]));
}

// visit(k, i): all classes and pixels of a block in pieces of 4 classes from k on and kLanes pixels from i on. The last
// four of the classes may meet those before them; of three, the fourth is the next pixel's first.
template <class Visit>
UNET_FAST_FUNCTION void for_each_quad(int64_t class_count, const Visit& visit) {
  for (int64_t k = 0; k < class_count; k += 4) {
    for (int64_t i = 0; i < kPixels; i += kLanes) visit(k + 4 <= class_count || k == 0 ? k : class_count - 4, i);
  }
}

template <class T>
struct SoftmaxBlock {
  const WeightedLogits& input;
  const T* logits;  // of the first pixel
  int64_t stride_k, stride_x, count;
  bool is_followed;                   // by more pixels of the row
  int64_t bad_class = kIgnoredClass;  // or one out of range
  alignas(64) int32_t of_class[kPixels];
  float weight[kPixels];
  float top[kPixels];                   // the greatest logit
  float sum[kPixels];                   // of exp(z - top)
  float own[kPixels];                   // logit of the pixel's class
  float value[kIgnoredClass][kPixels];  // logits z of each class, then exp(z - top)

  SoftmaxBlock(const WeightedLogits& input, const T* logits, int64_t stride_k, int64_t stride_x, int64_t first,
               int64_t count, bool is_followed)
      : input(input), logits(logits), stride_k(stride_k), stride_x(stride_x), count(count), is_followed(is_followed) {
    if (input.classes_dtype == DType::uint8) {
      read_classes(static_cast<const uint8_t*>(input.classes) + first);
    } else {
      read_classes(static_cast<const int64_t*>(input.classes) + first);
    }
    for (int64_t i = 0; i < kPixels; ++i) weight[i] = 1;
    if (input.weights) memcpy(weight, input.weights + first, sizeof(float) * static_cast<size_t>(count));
    read_logits();
    if (input.class_count == 2) {
      find_sum_of_two();
    } else {
      find_sum();
    }
  }

  // Whether the classes of each pixel follow each other, and the pixels too.
  static bool is_channels_last(int64_t class_count, int64_t stride_k, int64_t stride_x) {
    return stride_k == 1 && stride_x == class_count;
  }

 private:
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

  void read_logits() {
    const int64_t class_count = input.class_count;
    if (count == kPixels && is_channels_last(class_count, stride_k, stride_x)) {
      if (class_count == 2) {
        read_pairs();
        return;
      }
      if constexpr (std::is_same_v<T, float>) {
        if (class_count >= 4 || (class_count == 3 && is_followed)) {
          read_transposed();
          return;
        }
      }
    }
    for (int64_t k = 0; k < class_count; ++k) read_class(logits + k * stride_k, value[k]);
  }

  void read_pairs() {
    const T* __restrict from = logits;
    for (int64_t i = 0; i < kPixels; ++i) {
      value[0][i] = to_float(from[2 * i]);
      value[1][i] = to_float(from[2 * i + 1]);
    }
  }

  void read_transposed() {
    for_each_quad(input.class_count, [&](int64_t k, int64_t i) {
      read_quads(logits + i * stride_x + k, stride_x, reinterpret_cast<float (*)[kPixels]>(&value[k][i]));
    });
  }

  void read_class(const T* __restrict from, float* __restrict z) const {
    if (count < kPixels) {
      for (int64_t i = 0; i < kPixels; ++i) z[i] = i < count ? to_float(from[i * stride_x]) : 0.0f;
    } else if (stride_x == 1) {
      // As many streams as classes, each on a page of its own, are too many for the processor's own prefetchers.
      prefetch(from + kPixels, kPixels * static_cast<int64_t>(sizeof(T)));
      for (int64_t i = 0; i < kPixels; ++i) z[i] = to_float(from[i]);
    } else {
      for (int64_t i = 0; i < kPixels; ++i) z[i] = to_float(from[i * stride_x]);
    }
  }

  // The same as find_sum: of two exponentials one is exp(0) = 1.
  void find_sum_of_two() {
    const Vector one = Vector{} + 1.0f;
    for (int64_t i = 0; i < kPixels; i += kLanes) {
      const Vector first = load(value[0] + i), second = load(value[1] + i);
      const Classes classes = load_classes(of_class + i);
      const Vector greatest = greater_of(second, first), lower = exp_nonpositive(lesser_of(second, first) - greatest);
      store(top + i, greatest);
      store(own + i, classes == 0 ? first : classes == 1 ? second : Vector{});
      store(value[0] + i, first < second ? lower : one);
      store(value[1] + i, first < second ? one : lower);
      store(sum + i, one + lower);
    }
  }

  void find_sum() {
    for (int64_t i = 0; i < kPixels; i += kLanes) {
      const Classes classes = load_classes(of_class + i);
      Vector greatest = load(value[0] + i), total = {}, of_own = {};
      for (int64_t k = 1; k < input.class_count; ++k) greatest = greater_of(load(value[k] + i), greatest);
      for (int32_t k = 0; k < input.class_count; ++k) {
        const Vector z = load(value[k] + i), exponential = exp_nonpositive(z - greatest);
        of_own = classes == k ? z : of_own;
        total += exponential;
        store(value[k] + i, exponential);
      }
      store(top + i, greatest);
      store(sum + i, total);
      store(own + i, of_own);
    }
  }
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
