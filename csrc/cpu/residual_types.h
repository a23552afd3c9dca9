// The types of the residual mismatches of a warping (csrc/ops/warping_error.h), by the components of the warped truth L
// among the eight neighbours of each.
#pragma once

#include <bit>
#include <cstring>

#include "core/components.h"
#include "core/flood.h"
#include "core/simple_point.h"
#include "ops/warping_error.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

class ResidualTypes {
 public:
  struct Storage {           // each [pixels]
    uint32_t* words;         // of the runs
    uint32_t* last;          // pixel of each run
    uint32_t* ids;           // component of each run
    Components::Box* boxes;  // of pieces of background
    uint8_t* marks;          // of each run in a flood, zeros
    uint32_t* queue;         // of a flood
  };

  // level: [height + 2, width + 2] dense, 0 or 1, with a frame of 0.
  ResidualTypes(const uint8_t* level, int64_t height, int64_t width, int64_t radius, const Storage& storage)
      : level_(level),
        height_(height),
        width_(width),
        pitch_(width + 2),
        radius_(radius),
        storage_(storage),
        runs_(storage.words, storage.last),
        components_(runs_, storage.ids, storage.boxes) {
    const uint32_t count = runs_.find(level, (height + 2) * pitch_);
    components_.find(count, pitch_);
  }

  // The neighbours are those that lie in the image, U their components; a stretch of object on the ring of all eight is
  // in one component.
  WarpingErrorType of(int64_t y, int64_t x) const {
    const int64_t centre = y * pitch_ + x;
    const uint32_t ring = neighbourhood_of(level_ + centre, pitch_);
    const bool object = level_[centre];
    if (ring == 0) return object ? kObjectDeletion : kObjectAddition;
    const int components = components_around(ring, y, x, object) + ((~ring & inside(y, x)) != 0);
    if (components > 2) return object ? kSplit : kMerge;
    if (components == 1) return object ? kHoleAddition : kHoleDeletion;
    return !object ? kHoleAddition : cuts_object(ring, y, x) ? kSplit : kHoleDeletion;
  }

 private:
  // Bits of a ring, one after the other (core/simple_point.h).
  static uint32_t next(uint32_t ring) { return (ring >> 1 | ring << 7) & 0xff; }
  static uint32_t previous(uint32_t ring) { return (ring << 1 | ring >> 7) & 0xff; }
  static uint32_t first_of_arcs(uint32_t ring) { return ring & ~previous(ring); }
  static uint32_t last_of_arcs(uint32_t ring) { return ring & ~next(ring); }

  static bool several(uint32_t bits) { return (bits & (bits - 1)) != 0; }

  // Those corners that are object, while both their neighbours on the ring are background.
  static uint32_t lone_corners(uint32_t ring) { return first_of_arcs(ring) & last_of_arcs(ring) & 0x55; }

  // The bits of the neighbours that lie in the image.
  uint32_t inside(int64_t y, int64_t x) const {
    return 0xff & ~((y == 1 ? 0x07 : 0) | (y == height_ ? 0x70 : 0) | (x == 1 ? 0xc1 : 0) | (x == width_ ? 0x1c : 0));
  }

  int64_t neighbour(int64_t centre, int k) const { return centre + kRingY[k & 7] * pitch_ + kRingX[k & 7]; }

  uint32_t component(int64_t pixel) const { return components_.of(runs_.of(pixel)); }

  // The number of objects in a ring that has some. What touches an object's pixel by an edge belongs to its object.
  int components_around(uint32_t ring, int64_t y, int64_t x, bool object) const {
    const uint32_t lone = lone_corners(ring), arcs = first_of_arcs(ring);
    if (!several(arcs) || (object && lone == 0)) return 1;
    const int64_t centre = y * pitch_ + x;
    uint32_t ids[4];
    int distinct = 0;
    for (uint32_t rest = arcs; rest != 0; rest &= rest - 1) {
      add_distinct(component(neighbour(centre, std::countr_zero(rest))), ids, &distinct);
    }
    return distinct;
  }

  static bool add_distinct(uint32_t id, uint32_t* ids, int* distinct) {
    for (int i = 0; i < *distinct; ++i) {
      if (ids[i] == id) return false;
    }
    ids[(*distinct)++] = id;
    return true;
  }

  // Whether the objects on the ring, all in one component, are more than one within the window once the centre is taken
  // away.
  //
  // The arcs that share an edge with the centre and the gaps between them take turns. In the plane, such arcs are apart
  // if and only if the background joins two of the gaps, where all that lies outside the window is background: gaps
  // of one component, or of two that both reach its edge. A lone corner is reached without passing the centre, and
  // asks for a flood.
  bool cuts_object(uint32_t ring, int64_t y, int64_t x) const {
    const int64_t centre = y * pitch_ + x;
    const Extent rows = window(y, height_), columns = window(x, width_);
    const uint32_t lone = lone_corners(ring);
    uint32_t ids[4];
    int gaps = 0;
    for (uint32_t rest = last_of_arcs(ring) & ~lone; rest != 0; rest &= rest - 1) {
      const uint32_t id = component(neighbour(centre, std::countr_zero(rest) + 1));
      if (!add_distinct(id == 0 || reaches_edge(components_.box(id), rows, columns) ? 0 : id, ids, &gaps)) return true;
    }
    return lone != 0 && several(first_of_arcs(ring)) && !flood_unites(ring, y, x, rows, columns);
  }

  // Every arc of object on the ring floods the window; it is cut off when it has nothing left to flood before all arcs
  // have met.
  bool flood_unites(uint32_t ring, int64_t y, int64_t x, Extent rows, Extent columns) const {
    const int64_t centre = y * pitch_ + x;
    Flood flood(runs_, pitch_, rows, columns, centre, storage_.marks, storage_.queue);
    for (uint32_t rest = first_of_arcs(ring); rest != 0; rest &= rest - 1) {
      const int k = std::countr_zero(rest);
      flood.add_source(y + kRingY[k], neighbour(centre, k));
    }
    return flood.unites_sources();
  }

  static bool reaches_edge(const Components::Box& box, Extent rows, Extent columns) {
    return box.first_row <= rows.first || box.last_row >= rows.last || box.first_column <= columns.first ||
           box.last_column >= columns.last;
  }

  Extent window(int64_t centre, int64_t size) const {
    if (radius_ < 0) return {1, size};
    const int64_t first = centre - radius_, last = centre + radius_;
    return {first < 1 ? 1 : first, last > size ? size : last};
  }

  // The neighbours in the order of core/simple_point.h: consecutive ones share an edge.
  static constexpr int kRingY[8] = {-1, -1, -1, 0, 1, 1, 1, 0};
  static constexpr int kRingX[8] = {-1, 0, 1, 1, 1, 0, -1, -1};

  const uint8_t* const level_;
  const int64_t height_, width_, pitch_, radius_;
  const Storage storage_;
  Runs runs_;
  Components components_;
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
