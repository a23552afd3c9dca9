// weight_map on CUDA: cuda/nearest_two.cuh searches as far as the border term reaches, and only for the pixels that get
// one; here the squared distances of a pixel become its weight.
#include "ops/weight_map.h"

#include <cmath>

#include "core/border_term.h"
#include "cuda/device.cuh"
#include "cuda/nearest_two.cuh"

namespace unet_fast {
namespace {

// The class weights lie on the device, so each thread derives the reach for itself.
struct BorderReach {
  const float* class_weight;
  int64_t classes;  // of those that get the border term
  float border;
  float sigma;

  __device__ __forceinline__ int32_t operator()() const {
    float least = fabsf(class_weight[0]);
    for (int64_t k = 1; k < classes; ++k) least = fminf(least, fabsf(class_weight[k]));
    return border_reach(border, sigma, least, kUnlimitedReach);
  }
};

struct Weights {
  WeightMapArgs args;

  __device__ __forceinline__ bool wants(int64_t pixel) const {
    return args.everywhere ? args.classes[pixel] != kIgnoredClass : args.classes[pixel] == 0;
  }

  __device__ __forceinline__ void take(int64_t pixel, int32_t square1, int32_t square2) const {
    const uint8_t value = args.classes[pixel];
    float weight = value == kIgnoredClass ? 0.0f : value < args.class_count ? args.class_weight[value] : NAN;
    if (square2 < kInfiniteSquare) {
      const float sum = sqrtf(static_cast<float>(square1)) + sqrtf(static_cast<float>(square2));
      weight += args.border * expf(-0.5f / (args.sigma * args.sigma) * (sum * sum));
    }
    args.out[pixel] = weight;
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* weight_map_cuda(const WeightMapArgs& args, const Stream& stream) {
  const BorderReach reach = {args.class_weight, args.everywhere ? args.class_count : 1, args.border, args.sigma};
  return find_nearest_two(args.maps, reach, args.workspace, Weights{args}, stream);
}

}  // namespace unet_fast
