// The search for the two nearest distinct instances of every pixel; see ops/nearest_two_distances.h for the lemma.
//
//   sweep   down and up every column: what lies above and below each band of 32 rows (the last two distinct instances
//           met). Threads take groups of strips of 64 columns.
//   band    threads take bands. Inside a band the two sweeps go on from what lies above and below it; where they meet,
//           the up to four candidates of a pixel become the two vertically nearest distinct instances.
//   row     the row's candidates become the two nearest of each pixel (cpu/row_search.h).
//
// Everything of a band fits the second-level cache, and the scratch memory hardly grows with the image.
#pragma once

#include "core/instance.h"
#include "core/parallel.h"
#include "cpu/row_search.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

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
    constexpr int64_t kTasksPerThread = 2;
    const int64_t share = layout_.strips * maps_.images / (kTasksPerThread * threads.count);
    const int64_t together = clamp(share, 1, kMostStrips);
    const int64_t groups = (layout_.strips + together - 1) / together;
    char* const slot_memory = boundaries_ + maps_.images * layout_.bands * layout_.boundary_bytes;
    const auto slot = [&](int64_t number) { return Slot<Id>(layout_, slot_memory + number * layout_.slot_bytes); };
    const auto sweep_group = [&](int64_t i, int64_t) {
      const int64_t first = i % groups * together;
      sweep(i / groups, first, clamp(first + together, 0, layout_.strips));
    };
    const auto search = [&](int64_t i, int64_t worker) {
      search_band(slot(worker), i / layout_.bands, i % layout_.bands);
    };
    parallel_phases(Threads{threads.run, threads.count < slots_ ? threads.count : slots_},
                    Phase{slots_, [&](int64_t i, int64_t) { pad(slot(i)); }}, Phase{maps_.images * groups, sweep_group},
                    Phase{maps_.images * layout_.bands, search});
  }

 private:
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
    const RowSearch<Id> search = {slot, maps_.width, reach_};
    bool is_near = true;  // what one row is like, the next ones are
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t image_row = image * maps_.height + first + row;
      consumer_.want(image_row, slot.wanted);
      for (int64_t x = maps_.width; x < layout_.strips * kStrip; ++x) slot.wanted[x] = 0;
      is_near = is_near && search.walk(row);
      if (!is_near) search.follow_envelopes(row);
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
      if (i == 0) store(slot.ids[0] + at, id);  // nobody asks which one the second is
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
