// What is done to the values of a result while they lie packed in registers of 32 bits, before they are stored.
#pragma once

#include "core/dtype.h"
#include "cuda/device.cuh"

namespace unet_fast {

// Values of 16 bits or float in 32 bits: ones where keep(value of a, value of b).
template <class T, class Keep>
__device__ __forceinline__ uint32_t bits_where(uint32_t a, uint32_t b, const Keep& keep) {
  if constexpr (sizeof(T) == 4) {
    return keep(__uint_as_float(a), __uint_as_float(b)) ? ~0u : 0u;
  } else {
    const auto value = [](uint32_t bits) { return to_float(T{static_cast<uint16_t>(bits)}); };
    return (keep(value(a), value(b)) ? 0xffffu : 0u) | (keep(value(a >> 16), value(b >> 16)) ? 0xffff0000u : 0u);
  }
}

// The larger of each two values in 16 bytes; NaN wins.
template <class T>
__device__ __forceinline__ uint4 larger_of(const uint4& a, const uint4& b) {
  const auto larger = [](uint32_t a, uint32_t b) {
    const uint32_t bits = bits_where<T>(a, b, [](float p, float q) { return p > q || p != p; });
    return (a & bits) | (b & ~bits);
  };
  return make_uint4(larger(a.x, b.x), larger(a.y, b.y), larger(a.z, b.z), larger(a.w, b.w));
}

// The gradient of ReLU: values, and 0 where ReLU's result is not positive.
template <class T>
__device__ __forceinline__ uint4 gated(const uint4& values, const uint4& result) {
  const auto gate = [](uint32_t value, uint32_t result) {
    return value & ~bits_where<T>(result, result, [](float p, float) { return p <= 0; });
  };
  return make_uint4(gate(values.x, result.x), gate(values.y, result.y), gate(values.z, result.z),
                    gate(values.w, result.w));
}

}  // namespace unet_fast
