// nearest_two_distances on CUDA: the roots of what cuda/nearest_two.cuh finds.
#include "ops/nearest_two_distances.h"

#include <cmath>

#include "cuda/device.cuh"
#include "cuda/nearest_two.cuh"

namespace unet_fast {
namespace {

struct FixedReach {
  int32_t reach;
  __device__ __forceinline__ int32_t operator()() const { return reach; }
};

struct Roots {
  float* d1;
  float* d2;

  __device__ __forceinline__ bool wants(int64_t) const { return true; }
  __device__ __forceinline__ void take(int64_t pixel, int32_t square1, int32_t square2) const {
    d1[pixel] = root(square1);
    d2[pixel] = root(square2);
  }

  // Rounded once: a whole number up to 2^24 is exact in float, a larger one has its root taken in double.
  __device__ __forceinline__ static float root(int32_t square) {
    if (square >= kInfiniteSquare) return INFINITY;
    return square <= 1 << 24 ? sqrtf(static_cast<float>(square))
                             : static_cast<float>(sqrt(static_cast<double>(square)));
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* nearest_two_distances_cuda(const NearestTwoDistancesArgs& args, const Stream& stream) {
  return find_nearest_two(args.maps, FixedReach{args.reach}, args.workspace, Roots{args.d1, args.d2}, stream);
}

int64_t nearest_two_workspace_cuda(const InstanceMaps& maps) {
  const int64_t id_bytes = maps.dtype == DType::int64 ? 8 : 4;
  return 2 * maps.pixels() * (id_bytes + static_cast<int64_t>(sizeof(int32_t)));
}

}  // namespace unet_fast
