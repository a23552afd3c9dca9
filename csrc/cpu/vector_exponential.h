// The exponential of core/exponential.h for a vector of numbers.
#pragma once

#include "core/exponential.h"
#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {

// exp(x) for x <= 0, down to the least subnormal number; NaN stays NaN.
UNET_FAST_FUNCTION Vector exp_nonpositive(Vector x) {
  const ExponentialParts<Vector> parts = exponential_parts(greater_of(Vector{} + kLowestExponent, x));
#if defined(__AVX512F__)
  return _mm512_scalef_ps(parts.exp_r, parts.n);
#else
  typedef int32_t Bits __attribute__((vector_size(sizeof(Vector))));
  const Bits exponent = reinterpret_cast<Bits>(parts.n_shifted) - static_cast<int32_t>(bits_of_float(kRoundingShift));
  const Bits half = exponent >> 1, rest = exponent - half;
  return parts.exp_r * reinterpret_cast<Vector>((half + 127) << 23) * reinterpret_cast<Vector>((rest + 127) << 23);
#endif
}

}  // namespace unet_fast::UNET_FAST_ISA
