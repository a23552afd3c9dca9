// nearest_two_distances on the CPU: the roots of what cpu/nearest_two.h finds.
#include "cpu/kernels.h"

#include <cmath>

#include "cpu/nearest_two.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Roots {
  const NearestTwoDistancesArgs& args;

  void want(int64_t, int32_t* wanted) const {
    for (int64_t x = 0; x < args.maps.width; ++x) wanted[x] = -1;
  }

  void take(int64_t row, const int32_t*, const int32_t* d1, const int32_t* d2) const {
    root(d1, args.d1 + row * args.maps.width);
    root(d2, args.d2 + row * args.maps.width);
  }

  // Rounded once: in double the root of a whole number below 2^30 is never so close to the middle between two floats
  // that its own rounding could matter.
  void root(const int32_t* __restrict squares, float* __restrict out) const {
    const int64_t width = args.maps.width;
    for (int64_t x = 0; x < width; ++x) {
      const auto distance = static_cast<float>(sqrt(static_cast<double>(squares[x])));
      out[x] = squares[x] < kInfiniteSquare ? distance : INFINITY;
    }
  }
};

}  // namespace

void nearest_two_distances(const NearestTwoDistancesArgs& args, const Threads& threads) {
  find_nearest_two(args.maps, args.reach, args.workspace, args.slots, Roots{args}, threads);
}

}  // namespace unet_fast::UNET_FAST_ISA
