// The change of grey values in elastic_warp: v -> gain * sign(g) |g|^gamma + bias + noise * n with g = scale * v +
// offset and n a normal random number. Without gamma (1) and noise (0) their parts are left out, not computed: then
// scale = gain = 1 and offset = bias = 0 change nothing.
#pragma once

#include <cstdint>

#include "core/exponential.h"
#include "core/philox.h"
#include "core/portable.h"

namespace unet_fast {

// sign(v) |v|^gamma for gamma > 0. Of 0, 1 and -1 exactly that; subnormal numbers become 0.
UNET_FAST_FUNCTION float signed_power(float v, float gamma) {
  constexpr float kLeastNormal = 0x1p-126f;
  const float magnitude = v < 0 ? -v : v;
  const bool is_zero = magnitude < kLeastNormal;
  const float exponent = gamma * log_positive(is_zero ? 1.0f : magnitude);
  const float inverse = exp_nonpositive(exponent > 0 ? -exponent : exponent);
  const float power = is_zero ? 0.0f : exponent > 0 ? 1.0f / inverse : inverse;
  return v < 0 ? -power : power;
}

// One channel of one sample.
struct GreyChange {
  float scale, offset, gamma, gain, bias, noise;
  uint64_t noise_key, channel;

  UNET_FAST_METHOD bool has_gamma() const { return gamma != 1.0f; }
  UNET_FAST_METHOD bool has_noise() const { return noise != 0.0f; }

  UNET_FAST_METHOD float linear(float value) const { return gain * (scale * value + offset) + bias; }
  UNET_FAST_METHOD float curved(float value) const { return gain * signed_power(scale * value + offset, gamma) + bias; }
  // `pixel` counts the rows of the crop one after the other.
  UNET_FAST_METHOD float add_noise(float value, int64_t pixel) const {
    return value + noise * philox_normal(noise_key, static_cast<uint64_t>(pixel), channel);
  }
};

}  // namespace unet_fast
