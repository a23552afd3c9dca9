// exp and log in float32 without branches, so that a loop over them becomes vector code on every instruction set.
// Polynomials of Cephes (S. Moshier); at most 2 units in the last place off.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/portable.h"

namespace unet_fast {

UNET_FAST_FUNCTION float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

UNET_FAST_FUNCTION uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// x = n ln 2 + r with |r| <= ln 2 / 2. Number is float, or a vector of it that is computed lane by lane.
template <class Number>
struct ExponentialParts {
  Number n_shifted;  // n + kRoundingShift, in whose lowest bits n stands
  Number n;
  Number exp_r;
};

constexpr float kRoundingShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number

template <class Number>
UNET_FAST_FUNCTION ExponentialParts<Number> exponential_parts(Number x) {
  constexpr float kLog2 = 0.693359375f, kLog2Rest = -2.12194440e-4f;  // ln 2 in two parts: n * kLog2 is exact
  const Number shifted = x * 1.44269504f + kRoundingShift, n = shifted - kRoundingShift;
  const Number r = x - n * kLog2 - n * kLog2Rest;
  Number p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return {shifted, n, p * (r * r) + r + 1.0f};
}

constexpr float kLowestExponent = -104.0f;  // its exponential rounds to 0

// exp(x) for x <= 0, down to the least subnormal number; NaN stays NaN.
UNET_FAST_FUNCTION float exp_nonpositive(float x) {
  const ExponentialParts<float> parts = exponential_parts(x < kLowestExponent ? kLowestExponent : x);
  // 2^n in two factors, both normal numbers, so that the product rounds once where it is subnormal.
  const auto exponent = static_cast<int32_t>(bits_of_float(parts.n_shifted) - bits_of_float(kRoundingShift));
  const int32_t half = exponent >> 1, rest = exponent - half;
  return parts.exp_r * float_from_bits(static_cast<uint32_t>(half + 127) << 23) *
         float_from_bits(static_cast<uint32_t>(rest + 127) << 23);
}

// ln(x) for normal x > 0; NaN stays NaN.
// x = 2^n m with sqrt(1/2) <= m < sqrt(2).
UNET_FAST_FUNCTION float log_positive(float x) {
  constexpr float kLog2 = 0.693359375f, kLog2Rest = -2.12194440e-4f;
  constexpr uint32_t kSqrtHalf = 0x3f3504f3;  // bits of sqrt(1/2)
  const uint32_t bits = bits_of_float(x);
  const int32_t exponent = static_cast<int32_t>(bits - kSqrtHalf) >> 23;
  const float m = float_from_bits(bits - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
  const auto n = static_cast<float>(exponent);
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const float square = m * m;
  const float tail = p * m * square + n * kLog2Rest - 0.5f * square;
  return m + tail + n * kLog2 + (x - x);  // x - x is 0, or NaN
}

}  // namespace unet_fast
