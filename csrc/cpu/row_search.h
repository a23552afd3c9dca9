// The two nearest distinct instances of the pixels of a row, from the candidates of its columns: a vector of pixels
// walks left and right at once, k = 1, 2, ... until k alone is farther than the second nearest found, or than `reach`
// allows. Where that gets far, as in the empty parts of an image, the row's envelopes (cpu/row_envelope.h) take its
// place.
#pragma once

#include "cpu/column_sweep.h"
#include "cpu/nearest_two_layout.h"
#include "cpu/row_envelope.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// One slot's part of the workspace.
template <class Id>
struct Slot {
  Id* ids[2];           // [kBandRows][pitch]: of the nearest and second nearest instance of the pixel's column; the
                        // second's only until both are found
  int32_t* squares[2];  // [kBandRows][pitch]: their squared vertical distances
  Id* lowest;           // [strips] least and
  Id* highest;          // [strips] greatest id among the candidates of a strip
  int32_t* wanted;      // [W] -1 where the distances of a pixel are wanted, else 0
  int32_t* d1;          // [W] squared distances of one row
  int32_t* d2;          // [W]
  int64_t* in_reach;    // [strips] instances among the candidates in reach of a strip: 0, 1 or 2 (or more)
  Arc* arcs[2];         // [W] scratch memory of a row's envelopes
  int32_t* nearest;     // [W]
  int64_t pitch;

  Slot(const NearestTwoLayout& layout, char* memory) : pitch(layout.pitch) {
    const int64_t candidates = kBandRows * layout.pitch, width = layout.strips * kStrip;
    const auto take = [&memory](auto*& pointer, int64_t count) {
      pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(memory);
      memory += count * static_cast<int64_t>(sizeof *pointer);
    };
    take(in_reach, layout.strips);
    for (Arc*& arc : arcs) take(arc, width);
    for (Id*& id : ids) take(id, candidates);
    take(lowest, layout.strips);
    take(highest, layout.strips);
    for (int32_t*& square : squares) take(square, candidates);
    take(wanted, width);
    take(d1, width);
    take(d2, width);
    take(nearest, width);
  }

  // Of the candidates of a row of the band.
  int64_t at(int64_t band_row, int64_t x) const { return band_row * pitch + kRowPadding + x; }
};

template <class Id>
struct RowSearch {
  const Slot<Id>& slot;
  int64_t width;
  int32_t reach;

  // Whether it came to an end within a time that grows with the width alone; if not, nothing is found.
  bool walk(int64_t row) const {
    constexpr int64_t kStepsPerVector = 48, kSteps = 512;  // about as long as the envelopes take
    int64_t steps = kSteps + kStepsPerVector * width / kLanes;
    for (int64_t x = 0; x < width && steps > 0; x += kLanes) steps -= walk_vector(row, x, steps);
    return steps > 0;
  }

  void follow_envelopes(int64_t row) const {
    const int64_t at = slot.at(row, 0);
    RowEnvelope<Id>{.ids = slot.ids[0] + at,
                    .squares = {slot.squares[0] + at, slot.squares[1] + at},
                    .width = width,
                    .arcs = slot.arcs[0],
                    .other_arcs = slot.arcs[1],
                    .nearest = slot.nearest}
        .find(slot.d1, slot.d2);
  }

 private:
  // d1 and d2 of kLanes pixels from column x on. Returns the steps taken, at most `most`: then it may not be at an end.
  UNET_FAST_METHOD int64_t walk_vector(int64_t row, int64_t x, int64_t most) const {
    const Ints wanted = load<Ints>(slot.wanted + x);
    const int64_t in_reach = slot.in_reach[x / kStrip], at = slot.at(row, x);
    // One instance alone matters only where all distances are asked for.
    const bool in_vain = in_reach == 0 || (in_reach == 1 && reach < kUnlimitedReach) || !any(wanted);
    if (in_vain) {
      store(slot.d1 + x, Ints{} + kInfiniteSquare);
      store(slot.d2 + x, Ints{} + kInfiniteSquare);
      return 0;
    }
    Ints d1 = load<Ints>(slot.squares[0] + at), d2 = load<Ints>(slot.squares[1] + at);
    IdVector<Id> id1 = load<IdVector<Id>>(slot.ids[0] + at);
    // Both candidates of the column at x + offset. Its second one matters where its first is the nearest instance of
    // all, or replaces that one.
    const auto insert = [&](int64_t offset, int32_t square) {
      const Ints first = load<Ints>(slot.squares[0] + at + offset) + square;
      const Ints second = load<Ints>(slot.squares[1] + at + offset) + square;
      const auto id = load<IdVector<Id>>(slot.ids[0] + at + offset);
      const Ints farther = first > d1 ? first : d1, loser = farther < second ? farther : second;
      const Ints other = as_ints(id == id1) ? second : loser;
      d2 = other < d2 ? other : d2;
      id1 = pick<Id>(first < d1, id, id1);
      d1 = first < d1 ? first : d1;
    };
    const int64_t right = width - x, farthest = x + kLanes > right ? x + kLanes : right;
    int32_t k = 1;
    for (; k < farthest && k <= most; ++k) {
      // What is not yet seen is at least k away. It matters where the second nearest is farther than k, unless the sum
      // of both distances is beyond the reach even so: d1 + k if d1 <= k, else 2 k.
      Ints open = wanted & ((in_reach > 1 ? d2 : d1) > k * k);
      if (2 * k > reach) {
        const int32_t rest = reach - k;
        if (rest < 0) break;
        open &= d1 <= rest * rest;
      }
      if (!any(open)) break;
      if (k < x + kLanes) insert(-k, k * k);
      if (k < right) insert(k, k * k);
    }
    store(slot.d1 + x, d1);
    store(slot.d2 + x, d2);
    return k;
  }
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
