// The softmax of one pixel by one thread, in place.
#pragma once

#include <cmath>

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

// z[0 .. classes), of room for kClasses in registers; with kClasses = 0, of any number in memory.
template <int kClasses>
__device__ __forceinline__ void softmax(float* z, int classes) {
  const int room = kClasses ? kClasses : classes;
  float top = z[0], sum = 0;
#pragma unroll
  for (int k = 1; k < room; ++k) top = k < classes && z[k] > top ? z[k] : top;
#pragma unroll
  for (int k = 0; k < room; ++k) {
    z[k] = k < classes ? expf(z[k] - top) : 0.0f;
    sum += z[k];
  }
#pragma unroll
  for (int k = 0; k < room; ++k) z[k] /= sum;
}

}  // namespace
}  // namespace unet_fast
