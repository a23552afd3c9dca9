// The search for the two nearest distinct instances of every pixel; see ops/nearest_two_distances.h for the lemma.
//
//   sweep   down and up every column: what lies above and below each band of 32 rows (the last two distinct instances
//           met). Threads take groups of strips of 64 columns.
//   band    threads take bands. Inside a band the two sweeps go on from what lies above and below it; where they meet,
//           the up to four candidates of a pixel become the two vertically nearest distinct instances.
//   row     a vector of pixels walks left and right at once: k = 1, 2, ... until k alone is farther than the second
//           nearest found, or than `reach` allows.
//
// Everything of a band fits the second-level cache, and the scratch memory hardly grows with the image.
#pragma once

#include "core/instance.h"
#include "core/parallel.h"
#include "cpu/column_sweep.h"
#include "cpu/id_vector.h"
#include "cpu/nearest_two_layout.h"
#include "ops/nearest_two_distances.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// One slot's part of the workspace.
template <class Id>
struct Slot {
  Id* ids[2];           // [kBandRows][pitch]: of the nearest and second nearest instance of the pixel's column
  int32_t* squares[2];  // [kBandRows][pitch]: their squared vertical distances
  Id* lowest;           // [strips] least and
  Id* highest;          // [strips] greatest id among the candidates of a strip
  int32_t* wanted;      // [W] -1 where the distances of a pixel are wanted, else 0
  int32_t* d1;          // [W] squared distances of one row
  int32_t* d2;          // [W]
  int64_t* in_reach;    // [strips] instances among the candidates in reach of a strip: 0, 1 or 2 (or more)
  int64_t* left;        // [strips] nearest strip with candidates at or left of a strip, far outside where there is none
  int64_t* right;       // [strips] the same to the right
  int64_t pitch;

  Slot(const NearestTwoLayout& layout, char* memory) : pitch(layout.pitch) {
    const int64_t candidates = kBandRows * layout.pitch, width = layout.strips * kStrip;
    const auto take = [&memory](auto*& pointer, int64_t count) {
      pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(memory);
      memory += count * static_cast<int64_t>(sizeof *pointer);
    };
    take(in_reach, layout.strips);
    take(left, layout.strips);
    take(right, layout.strips);
    for (Id*& id : ids) take(id, candidates);
    take(lowest, layout.strips);
    take(highest, layout.strips);
    for (int32_t*& square : squares) take(square, candidates);
    take(wanted, width);
    take(d1, width);
    take(d2, width);
  }

  int64_t at(int64_t band_row, int64_t x) const { return band_row * pitch + kRowPadding + x; }
};

template <class Id, class Consumer>
class NearestTwo {
 public:
  NearestTwo(const InstanceMaps& maps, int32_t reach, void* workspace, int slots, const Consumer& consumer)
      : maps_(maps), reach_(reach), slots_(slots), layout_(nearest_two_layout(maps, slots)), consumer_(consumer) {
    boundaries_ = static_cast<char*>(workspace);
    visit_label_type(maps.dtype, [&](auto label) { read_ = read_strip<decltype(label), Id>; });
  }

  void run(const Threads& threads) const {
    // Neighbouring strips together read long pieces of rows, which the prefetcher likes.
    const int64_t share = layout_.strips * maps_.images / threads.count;
    const int64_t together = clamp(share, 1, kMostStrips);
    const int64_t groups = (layout_.strips + together - 1) / together;
    parallel_for(threads, maps_.images * groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % groups * together, last = first + together;
        sweep(i / groups, first, clamp(last, 0, layout_.strips));
      }
    });
    char* const slot_memory = boundaries_ + maps_.images * layout_.bands * layout_.boundary_bytes;
    parallel_for(threads, slots_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t slot = begin; slot < end; ++slot) {
        const Slot<Id> memory(layout_, slot_memory + slot * layout_.slot_bytes);
        pad(memory);
        for (int64_t i = slot; i < maps_.images * layout_.bands; i += slots_) {
          search_band(memory, i / layout_.bands, i % layout_.bands);
        }
      }
    });
  }

 private:
  static constexpr int64_t kFarStrip = 1 << 20;

  using Read = void (*)(const InstanceMaps& maps, int64_t row, int64_t strip, Id* ids);

  // ---- sweep --------------------------------------------------------------------------------------------------------

  struct Boundary {
    Id* ids;        // [2][width]
    int32_t* rows;  // [2][width]
  };

  Boundary boundary(int64_t image, int64_t band, int side) const {
    const int64_t width = layout_.strips * kStrip;
    char* memory = boundaries_ + (image * layout_.bands + band) * layout_.boundary_bytes;
    Id* ids = reinterpret_cast<Id*>(memory) + side * 2 * width;
    return {ids, reinterpret_cast<int32_t*>(reinterpret_cast<Id*>(memory) + 4 * width) + side * 2 * width};
  }

  void save(const MetInStrip<Id>& met, int64_t image, int64_t band, int side, int64_t strip) const {
    const Boundary to = boundary(image, band, side);
    for (int64_t v = 0; v < kVectors; ++v) {
      for (int64_t i = 0; i < 2; ++i) {
        const int64_t x = (i * layout_.strips + strip) * kStrip + v * kLanes;
        store(to.ids + x, met.vector[v].id[i]);
        store(to.rows + x, met.vector[v].row[i]);
      }
    }
  }

  void restore(MetInStrip<Id>& met, int64_t image, int64_t band, int side, int64_t strip) const {
    const Boundary from = boundary(image, band, side);
    for (int64_t v = 0; v < kVectors; ++v) {
      for (int64_t i = 0; i < 2; ++i) {
        const int64_t x = (i * layout_.strips + strip) * kStrip + v * kLanes;
        met.vector[v].id[i] = load<IdVector<Id>>(from.ids + x);
        met.vector[v].row[i] = load<Ints>(from.rows + x);
      }
    }
  }

  void sweep(int64_t image, int64_t first_strip, int64_t end_strip) const {
    Id ids[kStrip];
    MetInStrip<Id> met[kMostStrips];
    const auto step = [&](int64_t y, int side, bool at_boundary) {
      for (int64_t strip = first_strip; strip < end_strip; ++strip) {
        MetInStrip<Id>& here = met[strip - first_strip];
        if (at_boundary) save(here, image, y / kBandRows, side, strip);
        read_(maps_, image * maps_.height + y, strip, ids);
        here.step(ids, static_cast<int32_t>(y));
      }
    };
    for (MetInStrip<Id>& strip : met) strip.clear(-2 * kNowhere);
    for (int64_t y = 0; y < maps_.height; ++y) step(y, 0, y % kBandRows == 0);
    for (MetInStrip<Id>& strip : met) strip.clear(3 * kNowhere);
    for (int64_t y = maps_.height - 1; y >= 0; --y) {
      step(y, 1, y == maps_.height - 1 || y % kBandRows == kBandRows - 1);
    }
  }

  // ---- band ---------------------------------------------------------------------------------------------------------

  void pad(const Slot<Id>& slot) const {
    for (int64_t row = 0; row < kBandRows; ++row) {
      for (int i = 0; i < 2; ++i) {
        for (int64_t x = 0; x < kRowPadding; ++x) {
          const int64_t left = row * slot.pitch + x, right = (row + 1) * slot.pitch - 1 - x;
          slot.squares[i][left] = slot.squares[i][right] = kInfiniteSquare;
          slot.ids[i][left] = slot.ids[i][right] = 0;
        }
      }
    }
  }

  void search_band(const Slot<Id>& slot, int64_t image, int64_t band) const {
    const int64_t first = band * kBandRows, rows = clamp(maps_.height - first, 0, kBandRows);
    for (int64_t strip = 0; strip < layout_.strips; ++strip) find_candidates(slot, image, band, strip, rows);
    for (int64_t strip = 0; strip < layout_.strips; ++strip) slot.in_reach[strip] = count_in_reach(slot, strip);
    find_neighbours(slot);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t image_row = image * maps_.height + first + row;
      consumer_.want(image_row, slot.wanted);
      for (int64_t x = maps_.width; x < layout_.strips * kStrip; ++x) slot.wanted[x] = 0;
      for (int64_t x = 0; x < maps_.width; x += kLanes) search(slot, row, x);
      consumer_.take(image_row, slot.wanted, slot.d1, slot.d2);
    }
  }

  void find_candidates(const Slot<Id>& slot, int64_t image, int64_t band, int64_t strip, int64_t rows) const {
    Id ids[kStrip];
    MetInStrip<Id> met;
    restore(met, image, band, 0, strip);
    const int64_t first = band * kBandRows, first_row = image * maps_.height + first, x = strip * kStrip;
    for (int64_t row = 0; row < rows; ++row) {
      const auto y = static_cast<int32_t>(first + row);
      read_(maps_, first_row + row, strip, ids);
      met.step(ids, y);
      for (int64_t v = 0; v < kVectors; ++v) {
        for (int i = 0; i < 2; ++i) {
          store(slot.squares[i] + slot.at(row, x + v * kLanes), y - met.vector[v].row[i]);
          store(slot.ids[i] + slot.at(row, x + v * kLanes), met.vector[v].id[i]);
        }
      }
    }
    restore(met, image, band, 1, strip);
    Extremes extremes;
    for (int64_t row = rows - 1; row >= 0; --row) {
      const auto y = static_cast<int32_t>(first + row);
      read_(maps_, first_row + row, strip, ids);
      met.step(ids, y);
      for (int64_t v = 0; v < kVectors; ++v) merge(slot, slot.at(row, x + v * kLanes), met.vector[v], y, extremes);
    }
    extremes.reduce(slot.lowest[strip], slot.highest[strip]);
  }

  // Least and greatest id of the candidates of a strip.
  struct Extremes {
    IdVector<Id> low = IdVector<Id>{} + kGreatestId<Id>, high = IdVector<Id>{} + kLeastId<Id>;

    UNET_FAST_METHOD void include(const IdVector<Id>& id) {
      low = (id != 0) & (id < low) ? id : low;
      high = (id != 0) & (id > high) ? id : high;
    }
    UNET_FAST_METHOD void reduce(Id& lowest, Id& highest) const {
      lowest = kGreatestId<Id>, highest = kLeastId<Id>;
      for (int i = 0; i < kLanes; ++i) {
        lowest = low[i] < lowest ? low[i] : lowest;
        highest = high[i] > highest ? high[i] : highest;
      }
    }
  };

  // The candidates above (stored at `at`) and those below become the two vertically nearest, squared.
  UNET_FAST_METHOD void merge(const Slot<Id>& slot, int64_t at, const Met<Id>& below, int32_t y,
                              Extremes& extremes) const {
    Nearest<Id> nearest = {{load<Ints>(slot.squares[0] + at), load<IdVector<Id>>(slot.ids[0] + at)},
                           {load<Ints>(slot.squares[1] + at), load<IdVector<Id>>(slot.ids[1] + at)}};
    // In this order: what lies above is in order, so the nearer one below can only push it down; the farther one below
    // cannot be nearer than the first any more. So the first and second never become the same instance.
    nearest.insert({below.row[0] - y, below.id[0]});
    nearest.insert({below.row[1] - y, below.id[1]});
    const Ints reach = Ints{} + static_cast<int32_t>(clamp(reach_, 0, kNowhere - 1));
    Candidate<Id>* const candidates[2] = {&nearest.first, &nearest.second};
    for (int i = 0; i < 2; ++i) {
      const Ints found = candidates[i]->distance <= reach;
      const Ints distance = found ? candidates[i]->distance : Ints{} + kNowhere;
      const IdVector<Id> id = pick<Id>(found, candidates[i]->id, IdVector<Id>{});
      extremes.include(id);
      store(slot.squares[i] + at, distance * distance);
      store(slot.ids[i] + at, id);
    }
  }

  // How many instances (at most 2) are among the candidates of the columns that a strip can reach.
  int64_t count_in_reach(const Slot<Id>& slot, int64_t strip) const {
    const int64_t last = layout_.strips - 1;
    const int64_t begin = clamp((strip * kStrip - reach_) / kStrip, 0, last);
    const int64_t end = clamp(((strip + 1) * kStrip - 1 + reach_) / kStrip, 0, last) + 1;
    Id lowest = kGreatestId<Id>, highest = kLeastId<Id>;
    for (int64_t i = begin; i < end; ++i) {
      lowest = slot.lowest[i] < lowest ? slot.lowest[i] : lowest;
      highest = slot.highest[i] > highest ? slot.highest[i] : highest;
    }
    return lowest < highest ? 2 : lowest == highest ? 1 : 0;
  }

  void find_neighbours(const Slot<Id>& slot) const {
    const auto has_candidates = [&](int64_t strip) { return slot.lowest[strip] <= slot.highest[strip]; };
    int64_t nearest = -kFarStrip;
    for (int64_t strip = 0; strip < layout_.strips; ++strip) {
      slot.left[strip] = nearest = has_candidates(strip) ? strip : nearest;
    }
    nearest = kFarStrip;
    for (int64_t strip = layout_.strips - 1; strip >= 0; --strip) {
      slot.right[strip] = nearest = has_candidates(strip) ? strip : nearest;
    }
  }

  // The least distance from k on at which one of the pixels from column x on meets a strip with candidates.
  int64_t skip(const Slot<Id>& slot, int64_t x, int64_t k) const {
    const int64_t left_column = x + kLanes - 1 - k, right_column = x + k;
    const int64_t left = left_column >= 0 ? slot.left[left_column / kStrip] : -kFarStrip;
    const int64_t right = right_column < maps_.width ? slot.right[right_column / kStrip] : kFarStrip;
    const int64_t to_left = x - (left * kStrip + kStrip - 1), to_right = right * kStrip - (x + kLanes - 1);
    const int64_t nearest = to_left < to_right ? to_left : to_right;
    return nearest > k ? nearest : k;
  }

  // ---- row ----------------------------------------------------------------------------------------------------------

  // d1 and d2 of kLanes pixels from column x on.
  UNET_FAST_METHOD void search(const Slot<Id>& slot, int64_t row, int64_t x) const {
    const Ints wanted = load<Ints>(slot.wanted + x);
    const int64_t in_reach = slot.in_reach[x / kStrip], at = slot.at(row, x);
    // One instance alone matters only where all distances are asked for.
    const bool in_vain = in_reach == 0 || (in_reach == 1 && reach_ < kUnlimitedReach) || !any(wanted);
    if (in_vain) {
      store(slot.d1 + x, Ints{} + kInfiniteSquare);
      store(slot.d2 + x, Ints{} + kInfiniteSquare);
      return;
    }
    Ints d1 = load<Ints>(slot.squares[0] + at), d2 = load<Ints>(slot.squares[1] + at);
    IdVector<Id> id1 = load<IdVector<Id>>(slot.ids[0] + at);
    const auto insert = [&](int i, int64_t offset, int32_t square) {
      const Ints d = load<Ints>(slot.squares[i] + at + offset) + square;
      const auto id = load<IdVector<Id>>(slot.ids[i] + at + offset);
      const Ints loser = d > d1 ? d : d1;
      const Ints second = loser < d2 ? loser : d2;
      d2 = as_ints(id == id1) ? d2 : second;
      id1 = pick<Id>(d < d1, id, id1);
      d1 = d < d1 ? d : d1;
    };
    const int64_t right = maps_.width - x, farthest = x + kLanes > right ? x + kLanes : right;
    for (int32_t k = 1; k < farthest; ++k) {
      if (k % kLanes == 0) {  // empty parts of a large image
        k = static_cast<int32_t>(clamp(skip(slot, x, k), k, farthest));
        if (k == farthest) break;
      }
      // What is not yet seen is at least k away. It matters where the second nearest is farther than k, unless the sum
      // of both distances is beyond the reach even so: d1 + k if d1 <= k, else 2 k.
      Ints open = wanted & ((in_reach > 1 ? d2 : d1) > k * k);
      if (2 * k > reach_) {
        const int32_t rest = reach_ - k;
        if (rest < 0) break;
        open &= d1 <= rest * rest;
      }
      if (!any(open)) break;
      if (k < x + kLanes) insert(0, -k, k * k), insert(1, -k, k * k);
      if (k < right) insert(0, k, k * k), insert(1, k, k * k);
    }
    store(slot.d1 + x, d1);
    store(slot.d2 + x, d2);
  }

  const InstanceMaps& maps_;
  const int32_t reach_;
  const int slots_;
  const NearestTwoLayout layout_;
  const Consumer& consumer_;
  Read read_ = nullptr;
  char* boundaries_;
};

// Whether an id needs more than 32 bits. Even int64 labels seldom do; the search is then about ten times slower.
static inline bool has_wide_ids(const InstanceMaps& maps) {
  if (maps.dtype != DType::int64) return false;
  const auto* labels = static_cast<const int64_t*>(maps.labels);
  constexpr int64_t kPart = 4096;
  for (int64_t begin = 0; begin < maps.pixels(); begin += kPart) {
    const int64_t end = begin + kPart < maps.pixels() ? begin + kPart : maps.pixels();
    int64_t bits = 0;
    for (int64_t i = begin; i < end; ++i) bits |= labels[i] > 0 ? labels[i] : 0;
    if (bits >> 32) return true;
  }
  return false;
}

// Finds the squared distances row by row; row y of image n has the number n*H + y. `consumer` has
//   void want(int64_t row, int32_t* wanted) const: sets -1 for each of the W pixels whose distances are wanted, else 0;
//   void take(int64_t row, const int32_t* wanted, const int32_t* d1, const int32_t* d2) const: receives the squares.
template <class Consumer>
void find_nearest_two(const InstanceMaps& maps, int32_t reach, void* workspace, int slots, const Consumer& consumer,
                      const Threads& threads) {
  if (maps.pixels() == 0) return;
  if (has_wide_ids(maps)) {
    NearestTwo<int64_t, Consumer>(maps, reach, workspace, slots, consumer).run(threads);
  } else {
    NearestTwo<int32_t, Consumer>(maps, reach, workspace, slots, consumer).run(threads);
  }
}

}  // namespace
}  // namespace unet_fast::UNET_FAST_ISA
