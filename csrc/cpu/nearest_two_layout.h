// Where the search for the two nearest instances keeps its scratch memory; the same on every instruction set.
#pragma once

#include <cstdint>

#include "core/instance.h"
#include "core/portable.h"

namespace unet_fast {

constexpr int64_t kBandRows = 32;    // rows that one task searches: their candidates stay in the second-level cache
constexpr int64_t kStrip = 64;       // columns that are swept together
constexpr int64_t kRowPadding = 16;  // columns without candidates on either side of a row: the widest vector

struct NearestTwoLayout {
  int64_t bands;           // of one image
  int64_t strips;          // of one row
  int64_t pitch;           // elements of a padded row of candidates
  int64_t id_bytes;        // of an instance id: 8 for int64 labels, else 4
  int64_t boundary_bytes;  // of what the sweeps know above and below one band
  int64_t slot_bytes;      // of one task
  int64_t bytes;           // of all
};

UNET_FAST_FUNCTION NearestTwoLayout nearest_two_layout(const InstanceMaps& maps, int slots) {
  NearestTwoLayout layout;
  layout.bands = (maps.height + kBandRows - 1) / kBandRows;
  layout.strips = (maps.width + kStrip - 1) / kStrip;
  const int64_t width = layout.strips * kStrip;
  layout.pitch = width + 2 * kRowPadding;
  layout.id_bytes = maps.dtype == DType::int64 ? 8 : 4;
  const int64_t candidate = 4 + layout.id_bytes;  // a row or a square, and an id
  layout.boundary_bytes = 2 * 2 * width * candidate;
  layout.slot_bytes = 2 * kBandRows * layout.pitch * candidate  // candidates
                      + 2 * layout.strips * layout.id_bytes     // least and greatest id of each strip
                      + 3 * width * 4                           // what is wanted of a row, and its two squares
                      + layout.strips * 8                       // instances in reach of each strip
                      + width * (2 * 8 + 4);                    // two envelopes of a row, and its nearest columns
  layout.bytes = maps.images * layout.bands * layout.boundary_bytes + slots * layout.slot_bytes;
  return layout;
}

}  // namespace unet_fast
