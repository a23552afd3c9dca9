// Mirror extrapolation (section 3.1 of the paper, figure 2): reflection without repeating the edge pixel.
#pragma once

#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

// Index in [0, size) that pixel `index` mirrors to:  ... 2 1 | 0 1 2 ... n-2 n-1 | n-2 n-3 ...
// The pattern has period 2(n-1), so an image smaller than the border is reflected again and again.
UNET_FAST_FUNCTION int64_t mirror_index(int64_t index, int64_t size) {
  if (index >= 0 && index < size) return index;
  if (size == 1) return 0;
  const int64_t period = 2 * (size - 1);
  index %= period;
  if (index < 0) index += period;
  return index < size ? index : period - index;
}

}  // namespace unet_fast
