// The instructions of sm_80: copies by a thread, products by a warp.
#include "emulator_block.h"

namespace unet_fast {

using emulator::fail;
using emulator::linear_thread;
using emulator::read;
using emulator::with_warp;

void copy_16_bytes(SharedAddress to, const void* from, bool reads) {
  if (to % 16 || reinterpret_cast<uintptr_t>(from) % 16) fail("a copy of 16 bytes that is not aligned");
  emulator::now_or_later([=] {
    unsigned char* place = emulator::at(to, 16, "a copy");
    if (place && reads) std::memcpy(place, from, 16);
    if (place && !reads) std::memset(place, 0, 16);
  });
}

void load_matrices(uint32_t (&m)[4], SharedAddress row) {
  if (row % 16) fail("a matrix's row that is not aligned");
  with_warp({row}, "ldmatrix", [&](const auto& lanes) {
    const unsigned lane = linear_thread() % 32;
    for (int i = 0; i < 4; ++i) m[i] = read<uint32_t>(lanes[8 * i + lane / 4][0] + lane % 4 * 4, "a matrix's row");
  });
}

void load_matrices_transposed(uint32_t (&m)[4], SharedAddress row) {
  if (row % 16) fail("a matrix's row that is not aligned");
  with_warp({row}, "ldmatrix", [&](const auto& lanes) {
    const unsigned lane = linear_thread() % 32;
    const auto value = [&](int matrix, unsigned k, unsigned column) -> uint32_t {
      return read<uint16_t>(lanes[8 * matrix + k][0] + column * 2, "a matrix's row");
    };
    for (int i = 0; i < 4; ++i) {
      m[i] = value(i, lane % 4 * 2, lane / 4) | value(i, lane % 4 * 2 + 1, lane / 4) << 16;
    }
  });
}

uint32_t to_tf32(uint32_t bits) {
  const bool is_finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (is_finite ? bits + 0x1000u : bits) & ~0x1fffu;  // to nearest, ties away from zero
}

// Factor number i of 32 bytes of a row, of which lane i / (values in a word) % 4 holds a word of each half.
template <class T>
float factor(const std::array<std::array<uint32_t, 6>, 32>& lanes, int row, int i, int first_word, int words_apart) {
  constexpr int kInWord = 4 / sizeof(T), kHalf = 4 * kInWord;
  const uint32_t word = lanes[row % 8 * 4 + i % kHalf / kInWord][first_word + i / kHalf * words_apart];
  if constexpr (sizeof(T) == 4) {
    if (word & 0x1fffu) fail("a factor that was not rounded to TF32");
    return __uint_as_float(word);
  } else {
    return to_float(T{static_cast<uint16_t>(i % 2 ? word >> 16 : word)});
  }
}

template <class T>
void multiply_16x8(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  with_warp({a[0], a[1], a[2], a[3], b0, b1}, "mma.sync", [&](const auto& lanes) {
    constexpr int kDepth = 32 / static_cast<int>(sizeof(T));
    const int lane = static_cast<int>(linear_thread() % 32);
    float left[2][kDepth], right[2][kDepth];
    for (int half = 0; half < 2; ++half) {
      for (int k = 0; k < kDepth; ++k) {
        left[half][k] = factor<T>(lanes, lane / 4, k, half, 2);
        right[half][k] = factor<T>(lanes, 2 * (lane % 4) + half, k, 4, 1);
      }
    }
    for (int e = 0; e < 4; ++e) {
      for (int k = 0; k < kDepth; ++k) sum[e] += left[e / 2][k] * right[e % 2][k];
    }
  });
}
template void multiply_16x8<BFloat16>(float (&)[4], const uint32_t (&)[4], uint32_t, uint32_t);
template void multiply_16x8<Float16>(float (&)[4], const uint32_t (&)[4], uint32_t, uint32_t);
template void multiply_16x8<float>(float (&)[4], const uint32_t (&)[4], uint32_t, uint32_t);

}  // namespace unet_fast
