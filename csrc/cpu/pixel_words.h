// Neighbouring pixels of a row, read together: kTaps (2 or 4) of at most 32 bits, as words of 32 bits. For 64 places of
// uint8, four gathers instead of the sixteen or more that one pixel at a time would take.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "core/dtype.h"
#include "core/exponential.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

template <class In, int kTaps, int kBlock>
struct PixelWords {
  static constexpr int kPixelBytes = sizeof(In), kBytes = kPixelBytes * kTaps;
  static constexpr bool kExist = kPixelBytes <= 4;
  static constexpr int kReads = kBytes > 8 ? 2 : 1;         // per place, each of
  static constexpr int kWords = kBytes > 4 ? 2 : 1;         // words
  static constexpr int kPixelsBehind = kBytes < 4 ? 2 : 0;  // two uint8 are read with two more behind them

  uint32_t words[kReads][kBlock * kWords];

  // The pixels from row + at[i] on.
  template <class Offset>
  void read(const In* row, const Offset* at) {
    for (int r = 0; r < kReads; ++r) {
      const In* const from = row + r * (8 / kPixelBytes);
#if defined(__AVX512F__)
      if constexpr (sizeof(Offset) == 4) {
        gather(from, at, words[r]);
        continue;
      }
#endif
      for (int i = 0; i < kBlock; ++i) memcpy(words[r] + kWords * i, from + at[i], 4 * kWords);
    }
  }

#if defined(__AVX512F__)
  static void gather(const In* from, const int32_t* at, uint32_t* to) {
    constexpr int kPlaces = 16 / kWords;
    for (int i = 0; i < kBlock; i += kPlaces) {
      if constexpr (kWords == 1) {
        const __m512i places = _mm512_loadu_si512(at + i);
        _mm512_storeu_si512(to + i, _mm512_i32gather_epi32(places, from, kPixelBytes));
      } else {
        const __m256i places = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + i));
        _mm512_storeu_si512(to + 2 * i, _mm512_i32gather_epi64(places, from, kPixelBytes));
      }
    }
  }
#endif

  template <int kTap>
  UNET_FAST_METHOD float pixel(int i) const {
    constexpr int kByte = kTap * kPixelBytes, kRead = kByte / 8, kWord = kByte % 8 / 4, kShift = kByte % 4 * 8;
    const uint32_t bits = words[kRead][kWords * i + kWord] >> kShift;
    if constexpr (std::is_same_v<In, float>) {
      return float_from_bits(bits);
    } else if constexpr (std::is_same_v<In, BFloat16> || std::is_same_v<In, Float16>) {
      return to_float(In{static_cast<uint16_t>(bits)});
    } else if constexpr (std::is_same_v<In, uint8_t>) {
      return static_cast<float>(static_cast<int32_t>(bits & 0xffu));
    } else {
      return to_float(static_cast<In>(bits));
    }
  }
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
