// The squared distances of all pixels of a row to their two nearest distinct instances, in a time that depends on
// nothing but the width. Column c of the row offers up to two instances, at the squares f of their vertical distances;
// seen along the row each is an arc (x - c)^2 + f, and all arcs have one shape.
//
// The nearest instance follows the lower envelope of the arcs: two of them meet once, so it takes them in the order of
// their columns (Felzenszwalb and Huttenlocher 2012). The second nearest follows, on every run of pixels that share the
// nearest instance, the lower envelope of the other instances' arcs. Just left of the run the nearest arc of all is one
// of those, that of column p say, and just right of it that of column q. As an envelope takes its arcs in order, on the
// run it takes none from outside of p..q. Neighbouring runs share a column range only up to their ends: together the
// ranges are at most two rows long, so this is linear too.
#pragma once

#include "cpu/id_vector.h"
#include "ops/nearest_two_distances.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Arc {
  int32_t column, square;

  UNET_FAST_METHOD int32_t at(int64_t x) const {
    const auto offset = static_cast<int32_t>(x) - column;
    return offset * offset + square;
  }
  // Of the straight line that remains of the arc without x^2.
  UNET_FAST_METHOD int64_t height() const { return int64_t{column} * column + square; }
};

// The lower envelope of arcs that are added from left to right, and asked from left to right.
class Envelope {
 public:
  explicit Envelope(Arc* memory) : arcs_(memory) {}

  UNET_FAST_METHOD void add(int64_t column, int32_t square) {
    const Arc arc = {static_cast<int32_t>(column), square};
    while (count_ > 1 && is_hidden(arcs_[count_ - 2], arcs_[count_ - 1], arc)) --count_;
    arcs_[count_++] = arc;
  }
  UNET_FAST_METHOD bool is_empty() const { return count_ == 0; }
  UNET_FAST_METHOD const Arc& lowest(int64_t x) {
    while (current_ + 1 < count_ && arcs_[current_ + 1].at(x) <= arcs_[current_].at(x)) ++current_;
    return arcs_[current_];
  }

 private:
  // Whether b is nowhere below both: it meets c no later than a.
  static UNET_FAST_METHOD bool is_hidden(const Arc& a, const Arc& b, const Arc& c) {
    return (b.height() - a.height()) * (c.column - b.column) >= (c.height() - b.height()) * (b.column - a.column);
  }

  Arc* arcs_;
  int64_t count_ = 0, current_ = 0;
};

// One row's candidates, those without an instance at kInfiniteSquare, and scratch memory of `width` elements each.
template <class Id>
struct RowEnvelope {
  const Id* ids;  // of the nearest candidate of each column
  const int32_t* squares[2];
  int64_t width;
  Arc* arcs;         // of the nearest instance
  Arc* other_arcs;   // of the second nearest
  int32_t* nearest;  // column of the nearest arc of each pixel

  // d1, d2: squares of the two distances.
  void find(int32_t* d1, int32_t* d2) const {
    Envelope envelope(arcs);
    for (int64_t x = 0; x < width; ++x) {
      if (squares[0][x] < kInfiniteSquare) envelope.add(x, squares[0][x]);
    }
    for (int64_t x = 0; x < width; ++x) d1[x] = d2[x] = kInfiniteSquare;
    if (envelope.is_empty()) return;
    for (int64_t x = 0; x < width; ++x) {
      const Arc& arc = envelope.lowest(x);
      d1[x] = arc.at(x);
      nearest[x] = arc.column;
    }
    for (int64_t begin = 0, end; begin < width; begin = end) {
      const Id id = ids[nearest[begin]];
      for (end = begin + 1; end < width && ids[nearest[end]] == id;) ++end;
      find_second(begin, end, id, d2);
    }
  }

 private:
  // d2 of a run of pixels whose nearest instance is `id`.
  void find_second(int64_t begin, int64_t end, Id id, int32_t* d2) const {
    const int64_t first = begin > 0 ? nearest[begin - 1] : 0, last = end < width ? nearest[end] : width - 1;
    Envelope envelope(other_arcs);
    for (int64_t x = first; x <= last; ++x) {
      const int32_t square = squares[ids[x] == id][x];
      if (square < kInfiniteSquare) envelope.add(x, square);
    }
    if (envelope.is_empty()) return;
    for (int64_t x = begin; x < end; ++x) d2[x] = envelope.lowest(x).at(x);
  }
};

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
