// Matrix products on a unit that multiplies bfloat16 (Intel AMX), to the precision of float32.
//
// A float of 24 bits is the sum of three bfloat16 of 8 bits each, x = h + m + l, exactly. A product of two floats is
// then nine products, each of which is exact in float32, where the unit adds them up. The three smallest (m l', l m'
// and l l') are below 2^-26 of the whole and are left out: six products at sixteen times the rate of float32. The error
// is that of the additions, as ever.
//
// The left matrix is split on the way, into scratch memory that stays in the caches, and serves all outputs then. The
// right one, the weight, is kept split. A line of 64 bytes holds one of the three parts of 32 channels: two vectors a
// and b of channels side by side, a0 b0 a1 b1 ..., since the unit adds the products of two neighbours. With panels of
// 32 channels,
//
//   left    [panels][3 parts][items][32 channels]
//   right   [panels][3 parts][vectors of outputs][16][16 outputs][channel of a, channel of b]
#pragma once

#include "cpu/micro_kernel.h"

namespace unet_fast::UNET_FAST_ISA {

#if defined(__AMX_BF16__)
constexpr bool kSplitProducts = true;
#else
constexpr bool kSplitProducts = false;
#endif

constexpr int64_t kSplitParts = 3;

typedef uint32_t Bits __attribute__((vector_size(sizeof(Vector))));

// The nearest bfloat16, as a float.
UNET_FAST_FUNCTION Vector nearest_bfloat16(Vector value) {
  return reinterpret_cast<Vector>((reinterpret_cast<Bits>(value) + 0x8000u) & 0xffff0000u);
}

// The line of one part of two vectors, each a bfloat16 as a float.
UNET_FAST_FUNCTION void store_part(float* line, Vector a, Vector b) {
  store(line, reinterpret_cast<Vector>(reinterpret_cast<Bits>(a) >> 16 | (reinterpret_cast<Bits>(b) & 0xffff0000u)));
}

// The three lines of two vectors, `part` floats apart.
UNET_FAST_FUNCTION void store_parts(float* lines, int64_t part, Vector a, Vector b) {
  const Vector high_a = nearest_bfloat16(a), high_b = nearest_bfloat16(b);
  const Vector rest_a = a - high_a, rest_b = b - high_b;  // 16 bits are left, then 8
  const Vector middle_a = nearest_bfloat16(rest_a), middle_b = nearest_bfloat16(rest_b);
  store_part(lines, high_a, high_b);
  store_part(lines + part, middle_a, middle_b);
  store_part(lines + 2 * part, rest_a - middle_a, rest_b - middle_b);
}

class SplitProduct {
 public:
  // Floats of scratch memory for `items` rows of `panels` x 32 channels.
  static int64_t scratch_floats(int64_t items, int64_t panels) { return kSplitParts * panels * items * kPanel; }

  // Sets the unit up for products of so many items (0: not at all) on this thread, as long as the object lives. Nothing
  // else may set it up meanwhile.
  SplitProduct(int64_t items, int64_t panels, float* scratch);
  ~SplitProduct();
  SplitProduct(const SplitProduct&) = delete;

  // The right matrix, from panels of 32 channels [32][vectors * 16] to panels as they are kept.
  static int64_t right_floats(int64_t panels, int vectors) { return kSplitParts * panels * kPanel * vectors * kPanel; }
  static void split_right(const float* right, int64_t panels, int vectors, float* to);

  // The left matrix: [channels / 16, rounded up][items][16], dense.
  void split_left(const float* left, int64_t channels) const;

  // sum [items][vectors * 16] for one or two vectors of outputs. `next` is what will be needed next, as large as
  // `right`: it is asked for in the second-level cache.
  void run(int vectors, const float* right, const float* next, float* sum) const;

 private:
  const int64_t items_, panels_;
  float* const scratch_;
  const int64_t blocks_;  // of items, of which the unit takes at most 16 at a time
  const int64_t rows_;    // of a block. The last block begins so early that it is whole: it computes some items again
};

}  // namespace unet_fast::UNET_FAST_ISA
