// The components of a binary image with a frame of background, by its runs (core/runs.h): objects 4-connected,
// background 8-connected.
#pragma once

#include <cstdint>

#include "core/runs.h"

namespace unet_fast {

class Components {
 public:
  struct Box {  // both ends included
    uint32_t first_row, last_row, first_column, last_column;
  };

  // ids: [runs] storage. boxes: as many as there are pieces of background apart from the outer one, at most one for
  // every 2x2 pixels.
  UNET_FAST_METHOD Components(const Runs& runs, uint32_t* ids, Box* boxes) : runs_(runs), ids_(ids), boxes_(boxes) {}

  // Rows are `pitch` apart.
  UNET_FAST_METHOD void find(uint32_t count, int64_t pitch) {
    unite_runs(count, pitch);
    number_components(count, pitch);
  }

  // Objects and background are numbered separately; the background that holds the frame is 0.
  UNET_FAST_METHOD uint32_t of(uint32_t run) const { return ids_[run]; }

  // Of a piece of background, not 0.
  UNET_FAST_METHOD const Box& box(uint32_t id) const { return boxes_[id - 1]; }

 private:
  // Union-find: ids_ holds an earlier run of the component, itself at the root.
  UNET_FAST_METHOD void unite_runs(uint32_t count, int64_t pitch) {
    ids_[0] = 0;
    for (uint32_t run = 1; run < count; ++run) {
      const uint32_t object = run & 1, diagonal = object ^ 1;
      uint32_t root = run;
      ids_[run] = run;
      runs_.each(object, runs_.first(run) - pitch - diagonal, runs_.last(run) - pitch + diagonal,
                 [&](uint32_t above) { root = unite(root, root_of(above)); });
    }
  }

  UNET_FAST_METHOD uint32_t root_of(uint32_t run) const {
    while (ids_[run] != run) run = ids_[run] = ids_[ids_[run]];
    return run;
  }

  UNET_FAST_METHOD uint32_t unite(uint32_t a, uint32_t b) {
    const uint32_t root = a < b ? a : b;
    ids_[a < b ? b : a] = root;
    return root;
  }

  // Every run but the root comes after the one that it points to, which has its number already.
  UNET_FAST_METHOD void number_components(uint32_t count, int64_t pitch) {
    uint32_t pieces = 0, y = 0;
    int64_t row = 0;
    for (uint32_t run = 1; run < count; ++run) {
      const bool root = ids_[run] == run;
      if (run & 1) {
        ids_[run] = root ? run : ids_[ids_[run]];
        continue;
      }
      const int64_t first = runs_.first(run);
      for (; first >= row + pitch; ++y) row += pitch;
      const uint32_t left = static_cast<uint32_t>(first - row), right = static_cast<uint32_t>(runs_.last(run) - row);
      if (root) {
        ids_[run] = ++pieces;
        boxes_[pieces - 1] = {y, y, left, right};
      } else if ((ids_[run] = ids_[ids_[run]]) != 0) {
        Box& box = boxes_[ids_[run] - 1];
        box = {box.first_row, y, left < box.first_column ? left : box.first_column,
               right > box.last_column ? right : box.last_column};
      }
    }
  }

  const Runs& runs_;
  uint32_t* const ids_;
  Box* const boxes_;
};

}  // namespace unet_fast
