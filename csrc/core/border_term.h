// How far the border term of the weight map reaches: border * exp(-(d1 + d2)^2 / (2 sigma^2)), equation (2) of the
// paper.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

// A whole number of pixels, at most `most`, from which on the term changes no weight.
//
// A float32 class weight c has a spacing of at least c * 2^-24 to its neighbours, so it stays what it is when less than
// half of that, c * 2^-25, is added. The term is below this bound, t, from
//     d1 + d2 = sigma * sqrt(2 ln(border / t))
// on: 6.3 sigma for border 10 and c = 1. Where the least class weight is 0, the bound is t = 2^-150, below which the
// term itself is 0 in float32; that is 14.6 sigma. One pixel more covers the rounding of this function.
UNET_FAST_FUNCTION int32_t border_reach(float border, float sigma, float least_weight, int32_t most) {
  constexpr double kHalfSpacing = 0x1p-25, kLeastFloat = 0x1p-150;
  const double half_spacing = fabs(static_cast<double>(least_weight)) * kHalfSpacing;
  const double bound = half_spacing > kLeastFloat ? half_spacing : kLeastFloat;
  if (!(border > bound)) return 0;
  const double reach = sigma * sqrt(2 * log(border / bound)) + 1;
  return reach < most ? static_cast<int32_t>(reach) + 1 : most;
}

}  // namespace unet_fast
