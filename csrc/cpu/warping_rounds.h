// The rounds of a warping (csrc/cpu/warping_error.cpp): mismatches are visited in their order and flipped where they
// are simple, until a round flips none.
//
// The first two rounds visit all. After that a pixel waits for a visit only if one of its neighbours was flipped: it is
// visited in the same round if it lies ahead in the order, else in the next one. A bit per mismatch, in their order,
// says who waits. So the flips are those of rounds that visit everybody, and a late round costs little.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/simple_point.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr SimplePoints kSimple;
static_assert(2 * kSimple.count() == 232);  // of the 512 patches of 3x3 pixels

class WarpingRounds {
 public:
  // level: [pixels] image of 0 and 1 with a frame, rows `pitch` apart. order: [count] positions of the mismatches, of
  // which those stay that the first round does not flip. number: [pixels], waiting: [2 x (ceil(count / 64) + 8)]
  // storage.
  WarpingRounds(uint8_t* level, int64_t pixels, int64_t pitch, uint32_t* order, int64_t count, uint32_t* number,
                uint32_t* waiting)
      : level_(level),
        pitch_(pitch),
        order_(order),
        count_(first_round(count)),
        words_(static_cast<uint32_t>((count_ + 63) / 64)),
        number_(number),
        waiting_(waiting) {
    for (int64_t p = 0; p < pixels; ++p) number[p] = no_number(p);
    for (int64_t i = 0; i < count_; ++i) number[order[i]] = static_cast<uint32_t>(i);
    memset(waiting, 0xff, words_ * sizeof(uint64_t));
    if (count_ % 64 != 0) set_word(words_ - 1, (uint64_t{1} << count_ % 64) - 1);
  }

  void run() {
    while (round()) {
    }
  }

  bool is_mismatch(int64_t position) const { return number_[position] < 64 * words_; }

 private:
  int64_t first_round(int64_t count) {
    int64_t left = 0;
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t position = order_[i];
      const bool simple = kSimple[neighbourhood_of(level_ + position, pitch_)];
      level_[position] ^= simple;
      order_[left] = position;
      left += !simple;
    }
    return left;
  }

  // Those of a word are judged together, without a branch on what nobody could foresee, and then flipped one by one.
  // Where two of them are neighbours, the flip of the first marks the second, which is judged again.
  bool round() {
    bool flips = false;
    for (uint32_t w = 0; w < words_; ++w) {
      uint64_t simple = 0, visited = word(w);
      if (visited == 0) continue;
      set_word(w, 0);
      for (; visited != 0; visited &= visited - 1) simple |= is_simple(w, std::countr_zero(visited));
      flips |= simple != 0;
      for (; simple != 0; simple &= simple - 1) {
        const int bit = std::countr_zero(simple);
        flip(order_[64 * w + bit]);
        const uint64_t marked = word(w);
        uint64_t ahead = marked & ~uint64_t{1} << bit;
        if (ahead == 0) continue;
        set_word(w, marked ^ ahead);
        simple &= ~ahead;
        for (; ahead != 0; ahead &= ahead - 1) simple |= is_simple(w, std::countr_zero(ahead));
      }
    }
    return flips;
  }

  // The bit itself if its pixel is simple, else 0.
  uint64_t is_simple(uint32_t word, int bit) const {
    return uint64_t{kSimple[neighbourhood_of(level_ + order_[64 * word + bit], pitch_)]} << bit;
  }

  void flip(uint32_t position) {
    level_[position] ^= 1;
    number_[position] = no_number(position);
    const uint32_t *at = number_ + position, *above = at - pitch_, *below = at + pitch_;
    mark(above[-1]);
    mark(above[0]);
    mark(above[1]);
    mark(at[-1]);
    mark(at[1]);
    mark(below[-1]);
    mark(below[0]);
    mark(below[1]);
  }

  // A pixel without a mismatch is marked like any other, in one of eight words that nobody reads: there is no branch,
  // and one mark need not wait for another.
  uint32_t no_number(int64_t position) const { return 64 * (words_ + static_cast<uint32_t>(position & 7)); }

  void mark(uint32_t number) { set_word(number / 64, word(number / 64) | uint64_t{1} << number % 64); }

  uint64_t word(uint32_t index) const {
    uint64_t bits;
    memcpy(&bits, waiting_ + 2 * index, sizeof bits);
    return bits;
  }

  void set_word(uint32_t index, uint64_t bits) { memcpy(waiting_ + 2 * index, &bits, sizeof bits); }

  uint8_t* const level_;
  const int64_t pitch_;
  uint32_t* const order_;
  const int64_t count_;
  const uint32_t words_;    // of 64 mismatches each
  uint32_t* const number_;  // of each mismatch in the order
  uint32_t* const waiting_;
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
