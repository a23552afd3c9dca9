// Simple points of a binary image, objects 4-connected and background 8-connected: pixels whose flip changes the
// topology of neither. By definition p is one where
//
//   exactly one 4-connected component of object among its eight neighbours touches p by an edge, and
//   the background among its eight neighbours is exactly one 8-connected component.
//
// The centre does not enter: the table of the 512 patches of 3x3 pixels is the same 256 entries twice, 116 of them
// true.
#pragma once

#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

// The bits of a neighbourhood, 1 = object:  0 1 2
//                                           7 p 3     odd bits share an edge with p
//                                           6 5 4
class SimplePoints {
 public:
  constexpr SimplePoints() {
    for (int i = 0; i < 256; ++i) simple_[i] = is_simple(i);
  }

  UNET_FAST_METHOD constexpr bool operator[](uint32_t neighbourhood) const { return simple_[neighbourhood]; }

  constexpr int count() const {
    int total = 0;
    for (int i = 0; i < 256; ++i) total += simple_[i];
    return total;
  }

 private:
  // Both conditions hold where Yokoi's number of 4-connected components, sum over odd k of x_k - x_k x_k+1 x_k+2, is 1:
  // an edge neighbour counts unless the next edge neighbour is joined to it round the corner.
  static constexpr bool is_simple(int neighbourhood) {
    int components = 0;
    for (int k = 1; k < 8; k += 2) {
      const bool edge = neighbourhood >> k & 1;
      const bool corner = neighbourhood >> ((k + 1) & 7) & 1;
      const bool next_edge = neighbourhood >> ((k + 2) & 7) & 1;
      components += edge && !(corner && next_edge);
    }
    return components == 1;
  }

  bool simple_[256] = {};
};

// `pixel` lies in an image of 0 and 1 with rows `pitch` apart and has all its neighbours.
UNET_FAST_FUNCTION uint32_t neighbourhood_of(const uint8_t* pixel, int64_t pitch) {
  const uint8_t *above = pixel - pitch, *below = pixel + pitch;
  return above[-1] | above[0] << 1 | above[1] << 2 | pixel[1] << 3 | below[1] << 4 | below[0] << 5 | below[-1] << 6 |
         pixel[-1] << 7;
}

}  // namespace unet_fast
