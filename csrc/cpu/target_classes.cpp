// target_classes on the CPU, in two passes over the rows. The first, vectorised and parallel, marks for each pixel of
// an instance which neighbours are another instance in the original map. Gap::full8 and Gap::none are then done.
// Gap::scan depends on what was cut before; its second pass goes in raster order, but only the marked pixels, a few in
// a hundred, cost it anything.
#include "cpu/kernels.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// A marked pixel holds kInstance and one bit for each scanned neighbour that is another instance.
constexpr uint8_t kInstance = 1, kWest = 2, kNorthWest = 4, kNorth = 8, kNorthEast = 16;
constexpr uint64_t kMarked = 0x1e1e1e1e1e1e1e1e;

template <class T>
struct Marker {
  const TargetClassesArgs& args;
  LabelMeaning<T> meaning;

  static UNET_FAST_METHOD bool other(const LabelMeaning<T>& meaning, T label, T neighbour) {
    return meaning.is_instance(neighbour) & (neighbour != label);
  }

  uint8_t outside(T label) const { return meaning.is_ignored(label) ? kIgnoredClass : uint8_t{0}; }

  // Columns [begin, end) of a row, all of whose neighbours exist.
  template <Gap gap>
  UNET_FAST_METHOD void inner(const T* __restrict row, int64_t begin, int64_t end, uint8_t* __restrict out) const {
    const T* __restrict north = row - args.maps.width;
    const T* __restrict south = row + args.maps.width;
    const LabelMeaning<T> meaning = this->meaning;  // a copy, which `out` cannot alias
    const uint8_t ignored = meaning.has_ignored ? kIgnoredClass : 0;
    const auto bit = [&](T label, T neighbour, uint8_t value) { return other(meaning, label, neighbour) ? value : 0; };
    for (int64_t x = begin; x < end; ++x) {
      const T label = row[x];
      int mark = kInstance;
      if constexpr (gap == Gap::scan) {
        mark |= bit(label, row[x - 1], kWest) | bit(label, north[x - 1], kNorthWest) | bit(label, north[x], kNorth) |
                bit(label, north[x + 1], kNorthEast);
      } else if constexpr (gap == Gap::full8) {
        const int any = bit(label, row[x - 1], 1) | bit(label, row[x + 1], 1) | bit(label, north[x - 1], 1) |
                        bit(label, north[x], 1) | bit(label, north[x + 1], 1) | bit(label, south[x - 1], 1) |
                        bit(label, south[x], 1) | bit(label, south[x + 1], 1);
        mark = any ? 0 : kInstance;
      }
      const int outside = label == meaning.ignored ? ignored : 0;
      out[x] = static_cast<uint8_t>(meaning.is_instance(label) ? mark : outside);
    }
  }

  // The same for one pixel on the image's edge.
  template <Gap gap>
  uint8_t edge(const T* row, int64_t y, int64_t x) const {
    if (!meaning.is_instance(row[x])) return outside(row[x]);
    const auto other_at = [&](int64_t dy, int64_t dx) {
      if (y + dy < 0 || y + dy >= args.maps.height || x + dx < 0 || x + dx >= args.maps.width) return 0;
      return static_cast<int>(other(meaning, row[x], row[dy * args.maps.width + x + dx]));
    };
    if constexpr (gap == Gap::scan) {
      return static_cast<uint8_t>(kInstance | other_at(0, -1) * kWest | other_at(-1, -1) * kNorthWest |
                                  other_at(-1, 0) * kNorth | other_at(-1, 1) * kNorthEast);
    } else if constexpr (gap == Gap::full8) {
      for (int64_t neighbour = 0; neighbour < 9; ++neighbour) {
        if (other_at(neighbour / 3 - 1, neighbour % 3 - 1)) return 0;
      }
    }
    return kInstance;
  }

  template <Gap gap>
  void rows(int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t y = i % args.maps.height, width = args.maps.width;
      const T* row = static_cast<const T*>(args.maps.labels) + i * width;
      uint8_t* out = args.out + i * width;
      const bool has_inner = (y > 0 || gap != Gap::full8) && (y + 1 < args.maps.height || gap != Gap::full8) &&
                             (y > 0 || gap != Gap::scan) && width > 2;
      const int64_t inner_begin = has_inner ? 1 : width, inner_end = has_inner ? width - 1 : width;
      for (int64_t x = 0; x < inner_begin; ++x) out[x] = edge<gap>(row, y, x);
      inner<gap>(row, inner_begin, inner_end, out);
      for (int64_t x = inner_end; x < width; ++x) out[x] = edge<gap>(row, y, x);
    }
  }
};

// The second pass of Gap::scan over one image: a marked pixel is cut where a neighbour that it names has stayed.
void cut_in_raster_order(uint8_t* image, int64_t height, int64_t width) {
  constexpr int64_t kStep = sizeof(uint64_t);
  for (int64_t y = 0; y < height; ++y) {
    uint8_t* row = image + y * width;
    const uint8_t* north = row - width;  // not read in row 0, where no bit names it
    for (int64_t begin = 0; begin < width; begin += kStep) {
      const int64_t end = begin + kStep < width ? begin + kStep : width;
      uint64_t eight = kMarked;
      if (end - begin == kStep) memcpy(&eight, row + begin, kStep);
      if (!(eight & kMarked)) continue;
      for (int64_t x = begin; x < end; ++x) {
        const uint8_t mark = row[x];
        if (mark <= kInstance || mark == kIgnoredClass) continue;
        const bool cut =
            ((mark & kWest) && row[x - 1] == kInstance) || ((mark & kNorthWest) && north[x - 1] == kInstance) ||
            ((mark & kNorth) && north[x] == kInstance) || ((mark & kNorthEast) && north[x + 1] == kInstance);
        row[x] = cut ? 0 : kInstance;
      }
    }
  }
}

}  // namespace

void target_classes(const TargetClassesArgs& args, const Threads& threads) {
  constexpr int64_t kRowsPerTask = 32;
  visit_label_type(args.maps.dtype, [&](auto label) {
    const Marker<decltype(label)> marker{args, LabelMeaning<decltype(label)>(args.maps.ignored)};
    parallel_for(threads, args.maps.images * args.maps.height, kRowsPerTask, [&](int64_t begin, int64_t end) {
      if (args.gap == Gap::none) marker.template rows<Gap::none>(begin, end);
      if (args.gap == Gap::scan) marker.template rows<Gap::scan>(begin, end);
      if (args.gap == Gap::full8) marker.template rows<Gap::full8>(begin, end);
    });
  });
  if (args.gap != Gap::scan) return;
  parallel_for(threads, args.maps.images, 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      cut_in_raster_order(args.out + image * args.maps.height * args.maps.width, args.maps.height, args.maps.width);
    }
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
