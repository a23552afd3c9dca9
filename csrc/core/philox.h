// Random numbers by counter: Philox4x32-10 (Salmon et al. 2011). A number depends on its key and counter alone, so that
// neither threads nor devices change it.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/exponential.h"
#include "core/portable.h"

namespace unet_fast {

struct PhiloxWords {
  uint32_t word[4];
};

UNET_FAST_FUNCTION PhiloxWords philox(uint64_t key, uint64_t counter, uint64_t stream) {
  constexpr uint32_t kMultiplier[2] = {0xD2511F53u, 0xCD9E8D57u}, kKeyStep[2] = {0x9E3779B9u, 0xBB67AE85u};
  constexpr int kRounds = 10;
  uint32_t a = static_cast<uint32_t>(counter), b = static_cast<uint32_t>(counter >> 32);
  uint32_t c = static_cast<uint32_t>(stream), d = static_cast<uint32_t>(stream >> 32);
  uint32_t first = static_cast<uint32_t>(key), second = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t left = static_cast<uint64_t>(kMultiplier[0]) * a, right = static_cast<uint64_t>(kMultiplier[1]) * c;
    a = static_cast<uint32_t>(right >> 32) ^ b ^ first;
    b = static_cast<uint32_t>(right);
    c = static_cast<uint32_t>(left >> 32) ^ d ^ second;
    d = static_cast<uint32_t>(left);
    first += kKeyStep[0];
    second += kKeyStep[1];
  }
  return {{a, b, c, d}};
}

// A normal number of mean 0 and standard deviation 1 (Box and Muller 1958), at most 5.8; from float32 multiplications
// and additions in a fixed order, so that all instruction sets and CUDA give the same bits.
UNET_FAST_FUNCTION float philox_normal(uint64_t key, uint64_t counter, uint64_t stream) {
  const PhiloxWords random = philox(key, counter, stream);
  constexpr float kUnit = 0x1p-24f;
  const float u = static_cast<float>(static_cast<int32_t>(random.word[0] >> 8) + 1) * kUnit;  // (0, 1]
  const float v = static_cast<float>(static_cast<int32_t>(random.word[1] >> 8)) * kUnit;      // [0, 1)
  // cos(2 pi v) = sin(2 pi q) with |q| <= 1/4; the series of the sine is off by at most 6e-8 there.
  const float from_middle = v < 0.5f ? 0.5f - v : v - 0.5f;
  const float angle = 6.28318531f * (from_middle - 0.25f), square = angle * angle;
  float sine = -2.50521084e-8f;
  sine = sine * square + 2.75573192e-6f;
  sine = sine * square - 1.98412698e-4f;
  sine = sine * square + 8.33333333e-3f;
  sine = sine * square - 1.66666667e-1f;
  sine = angle + angle * (square * sine);
  return sqrtf(-2.0f * log_positive(u)) * sine;
}

}  // namespace unet_fast
