// Element types, their conversion to float and back, and the switches from a run-time type to a template argument.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/portable.h"

namespace unet_fast {

enum class DType : int32_t { uint8, uint16, uint32, int16, int32, int64, float16, bfloat16, float32, float64, boolean };

UNET_FAST_FUNCTION int size_of(DType dtype) {  // bytes
  switch (dtype) {
    case DType::uint8:
    case DType::boolean: return 1;
    case DType::uint16:
    case DType::int16:
    case DType::float16:
    case DType::bfloat16: return 2;
    case DType::uint32:
    case DType::int32:
    case DType::float32: return 4;
    case DType::int64:
    case DType::float64: return 8;
  }
  return 0;
}

// The upper half of a float32: 8 bits of exponent, 7 of mantissa.
struct BFloat16 {
  uint16_t bits;
};

// IEEE's half precision: 5 bits of exponent, 10 of mantissa.
struct Float16 {
  uint16_t bits;
};

template <class T>
UNET_FAST_FUNCTION float to_float(T value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
  } else if constexpr (std::is_same_v<T, Float16>) {
    // Exponent and mantissa in their places, the exponent then set right by a product that is exact; for infinity and
    // NaN by filling it.
    const uint32_t magnitude = static_cast<uint32_t>(value.bits & 0x7fffu) << 13;
    const bool is_finite = (value.bits & 0x7c00u) != 0x7c00u;
    uint32_t bits = is_finite ? magnitude : magnitude | 0x7f800000u;
    float result;
    memcpy(&result, &bits, sizeof result);
    result = is_finite ? result * 0x1p112f : result;
    memcpy(&bits, &result, sizeof bits);
    bits |= static_cast<uint32_t>(value.bits & 0x8000u) << 16;
    memcpy(&result, &bits, sizeof result);
    return result;
  } else {
    return static_cast<float>(value);
  }
}

// To 16 bits: round to nearest, ties to even; a NaN stays a (quiet) NaN. What is too large for Float16 becomes
// infinite.
template <class T>
UNET_FAST_FUNCTION T from_float(float value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return BFloat16{0x7fc0};
    return BFloat16{static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
  } else if constexpr (std::is_same_v<T, Float16>) {
    constexpr uint32_t kInfinity = 0x7f800000u, kTooLarge = 0x477ff000u, kLeastNormal = 0x38800000u;  // of 65520, 2^-14
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits >= kTooLarge) {
      bits = bits > kInfinity ? 0x7e00u : 0x7c00u;
    } else if (bits >= kLeastNormal) {
      bits = (bits - 0x38000000u + 0xfffu + (bits >> 13 & 1u)) >> 13;  // the exponent's bias from 127 to 15
    } else {
      // The last bit of 0.5 is 2^-24, the smallest number of Float16: the sum rounds to it.
      float sum;
      memcpy(&sum, &bits, sizeof sum);
      sum += 0.5f;
      memcpy(&bits, &sum, sizeof bits);
      bits -= 0x3f000000u;
    }
    return Float16{static_cast<uint16_t>(sign | bits)};
  } else {
    return static_cast<T>(value);
  }
}

// Each visit_* calls visit(T{}) with the C++ type of `dtype` and returns false where the type is not of its kind.

// Images as they lie on disk or come out of the augmentation.
template <class Visit>
static bool visit_image_type(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::uint8: visit(uint8_t{}); return true;
    case DType::uint16: visit(uint16_t{}); return true;
    case DType::int16: visit(int16_t{}); return true;
    case DType::int32: visit(int32_t{}); return true;
    case DType::float16: visit(Float16{}); return true;
    case DType::bfloat16: visit(BFloat16{}); return true;
    case DType::float32: visit(float{}); return true;
    case DType::float64: visit(double{}); return true;
    default: return false;
  }
}

// Instance ids and class numbers.
template <class Visit>
static bool visit_label_type(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::uint8: visit(uint8_t{}); return true;
    case DType::uint16: visit(uint16_t{}); return true;
    case DType::uint32: visit(uint32_t{}); return true;
    case DType::int32: visit(int32_t{}); return true;
    case DType::int64: visit(int64_t{}); return true;
    default: return false;
  }
}

// Elements that are only moved: visit(an unsigned integer of the same size).
template <class Visit>
static bool visit_bits(DType dtype, const Visit& visit) {
  switch (size_of(dtype)) {
    case 1: visit(uint8_t{}); return true;
    case 2: visit(uint16_t{}); return true;
    case 4: visit(uint32_t{}); return true;
    default: visit(uint64_t{}); return true;
  }
}

// Activations and weights of the network: on the CPU, and on CUDA.
template <class Visit>
static bool visit_float_type(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::bfloat16: visit(BFloat16{}); return true;
    case DType::float32: visit(float{}); return true;
    default: return false;
  }
}

template <class Visit>
static bool visit_cuda_float_type(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::float16: visit(Float16{}); return true;
    default: return visit_float_type(dtype, visit);
  }
}

// Those of 16 bits.
template <class Visit>
static bool visit_half_type(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::float16: visit(Float16{}); return true;
    case DType::bfloat16: visit(BFloat16{}); return true;
    default: return false;
  }
}

}  // namespace unet_fast
