// weight_map on the CPU: cpu/nearest_two.h searches as far as the border term reaches, and only for the pixels that get
// one; here the squared distances of a row become weights.
#include "cpu/kernels.h"

#include <cmath>

#include "core/border_term.h"
#include "core/exponential.h"
#include "cpu/nearest_two.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kClassValues = 256;

struct Weights {
  const WeightMapArgs& args;
  float of_class[kClassValues];  // weight of each value that a class can have
  float exponent_scale;          // -1 / (2 sigma^2)

  explicit Weights(const WeightMapArgs& args) : args(args), exponent_scale(-0.5f / (args.sigma * args.sigma)) {
    for (int64_t value = 0; value < kClassValues; ++value) {
      of_class[value] = value < args.class_count ? args.class_weight[value] : NAN;
    }
    of_class[kIgnoredClass] = 0;
  }

  // Of the classes that get the border term.
  float least() const {
    float result = fabsf(args.class_weight[0]);
    for (int64_t k = 1; args.everywhere && k < args.class_count; ++k) {
      result = fminf(result, fabsf(args.class_weight[k]));
    }
    return result;
  }

  void want(int64_t row, int32_t* __restrict wanted) const {
    const int64_t width = args.maps.width;
    const uint8_t* __restrict classes = args.classes + row * width;
    if (args.everywhere) {
      for (int64_t x = 0; x < width; ++x) wanted[x] = classes[x] != kIgnoredClass ? -1 : 0;
    } else {
      for (int64_t x = 0; x < width; ++x) wanted[x] = classes[x] == 0 ? -1 : 0;
    }
  }

  void take(int64_t row, const int32_t* __restrict wanted, const int32_t* __restrict d1,
            const int32_t* __restrict d2) const {
    const int64_t width = args.maps.width;
    const uint8_t* __restrict classes = args.classes + row * width;
    float* __restrict out = args.out + row * width;
    const float border = args.border, scale = exponent_scale;
    for (int64_t x = 0; x < width; ++x) out[x] = of_class[classes[x]];
    // Many parts of an image are without two instances in reach.
    constexpr int64_t kPart = 64;
    for (int64_t begin = 0; begin < width; begin += kPart) {
      const int64_t end = begin + kPart < width ? begin + kPart : width;
      int32_t has_term = 0;
      for (int64_t x = begin; x < end; ++x) has_term |= wanted[x] & -(d2[x] < kInfiniteSquare);
      for (int64_t x = begin; has_term && x < end; ++x) {
        const float sum = sqrtf(static_cast<float>(d1[x])) + sqrtf(static_cast<float>(d2[x]));
        const float term = border * exp_nonpositive(sum * sum * scale);
        out[x] += (wanted[x] != 0) & (d2[x] < kInfiniteSquare) ? term : 0.0f;
      }
    }
  }
};

// A class that has no weight, or -1.
int32_t find_bad_class(const WeightMapArgs& args) {
  const int64_t pixels = args.maps.pixels();
  const uint8_t* classes = args.classes;
  const auto last = static_cast<uint8_t>(args.class_count - 1);
  constexpr int64_t kPart = 4096;
  for (int64_t begin = 0; begin < pixels; begin += kPart) {
    const int64_t end = begin + kPart < pixels ? begin + kPart : pixels;
    uint8_t greatest = 0;
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t value = classes[i] == kIgnoredClass ? uint8_t{0} : classes[i];
      greatest = value > greatest ? value : greatest;
    }
    if (greatest > last) return greatest;
  }
  return -1;
}

}  // namespace

void weight_map(const WeightMapArgs& args, const Threads& threads) {
  *args.bad_class = find_bad_class(args);
  if (*args.bad_class >= 0) return;
  const Weights weights(args);
  const int32_t reach = border_reach(args.border, args.sigma, weights.least(), kUnlimitedReach);
  find_nearest_two(args.maps, reach, args.workspace, args.slots, weights, threads);
}

}  // namespace unet_fast::UNET_FAST_ISA
