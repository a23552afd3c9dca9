// The runs of a binary image: stretches of equal pixels, in the order of the image's rows, from one end of it to the
// other. With a frame of background the first run is background, and they alternate: odd numbers are object. Those that
// border on a run from above or below have consecutive numbers, so both the components of an image and a flood within a
// window take steps of a run and not of a pixel.
#pragma once

#include <bit>
#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

// First and last row or column, both included.
struct Extent {
  int64_t first, last;
};

class Runs {
 public:
  // words: [2 x ceil(pixels / 32)], last: [runs] storage.
  UNET_FAST_METHOD Runs(uint32_t* words, uint32_t* last) : words_(words), last_(last) {}

  // Finds the runs of an image of 0 and 1 whose first pixel is 0 and returns their number.
  UNET_FAST_METHOD uint32_t find(const uint8_t* image, int64_t pixels) {
    uint32_t run = 0, before = 0;  // `before`: the pixel before those of the word
    for (int64_t p = 0; p < pixels; p += kBits) {
      const uint32_t objects = p + kBits <= pixels ? packed(image + p, kBits) : packed(image + p, pixels - p);
      const uint32_t starts = objects ^ (objects << 1 | before);
      before = objects >> (kBits - 1);
      words_[p / kBits * 2] = starts;
      words_[p / kBits * 2 + 1] = run;
      for (uint32_t rest = starts; rest != 0; rest &= rest - 1) {
        last_[run++] = static_cast<uint32_t>(p) + std::countr_zero(rest) - 1;
      }
    }
    last_[run] = static_cast<uint32_t>(pixels - 1);
    return run + 1;
  }

  UNET_FAST_METHOD uint32_t of(int64_t pixel) const {
    const uint32_t *word = words_ + pixel / kBits * 2, until = (2u << pixel % kBits) - 1;
    return word[1] + std::popcount(word[0] & until);
  }
  UNET_FAST_METHOD int64_t first(uint32_t run) const { return last_[run - 1] + int64_t{1}; }  // run >= 1
  UNET_FAST_METHOD int64_t last(uint32_t run) const { return last_[run]; }

  // function(run) for the runs of `value` (1: objects) that have a pixel in [first, last].
  template <class Function>
  UNET_FAST_METHOD void each(uint32_t value, int64_t first, int64_t last, const Function& function) const {
    const uint32_t end = of(last);
    uint32_t run = of(first);
    for (run += (run ^ value) & 1; run <= end; run += 2) function(run);
  }

 private:
  static constexpr int kBits = 32;

  static UNET_FAST_METHOD uint32_t packed(const uint8_t* image, int64_t count) {
    uint32_t bits = 0;
    for (int64_t i = 0; i < count; ++i) bits |= static_cast<uint32_t>(image[i]) << i;
    return bits;
  }

  uint32_t* const words_;  // of each 32 pixels: a bit where a run starts, and the number of the run before them
  uint32_t* const last_;
};

}  // namespace unet_fast
