// The softmax of pixels whose scores lie side by side, in place. A pixel's bits depend on nothing but its scores: each
// exponential is a lane of a whole vector, wherever it stands, and the rest rounds alike in vectors and outside of
// them.
#pragma once

#include "cpu/vector_exponential.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// values[i] = exp(values[i]) for values <= 0
UNET_FAST_FUNCTION void replace_by_exponentials(float* values, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(values + i, exp_nonpositive(load(values + i)));
  if (i < count) store_lanes(values + i, exp_nonpositive(load_lanes(values + i, count - i)), count - i);
}

// scores: [pixels, classes]
UNET_FAST_FUNCTION void softmax(float* scores, int64_t pixels, int64_t classes) {
  constexpr int64_t kAtOnce = 1024;  // values that stay in the nearest cache
  const int64_t step = kAtOnce > classes ? kAtOnce / classes : 1;
  for (int64_t first = 0; first < pixels; first += step) {
    const int64_t count = pixels - first < step ? pixels - first : step;
    float* const z = scores + first * classes;
    for (int64_t i = 0; i < count; ++i) {
      float top = z[i * classes];
      for (int64_t k = 1; k < classes; ++k) top = z[i * classes + k] > top ? z[i * classes + k] : top;
      for (int64_t k = 0; k < classes; ++k) z[i * classes + k] -= top;
    }
    replace_by_exponentials(z, count * classes);
    for (int64_t i = 0; i < count; ++i) {
      float sum = z[i * classes];
      for (int64_t k = 1; k < classes; ++k) sum += z[i * classes + k];
      for (int64_t k = 0; k < classes; ++k) z[i * classes + k] /= sum;
    }
  }
}

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
