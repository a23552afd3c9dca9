// warping_error on the CPU. The truth L is warped towards the proposal T = (P > t) by flipping simple points, which
// keeps the topology of objects and background:
//
//   repeat  for p in {L != T, mask} by |P - t| descending, ties column by column: if simple(L, p): flip L[p]
//   until a round flips nothing
//
// A flip makes p agree with T for good, so the mismatches are sorted once and each round only shortens the list. What
// is left is classified by the 4-connected components of L around it (csrc/ops/warping_error.h).
#include "cpu/kernels.h"

#include "core/runs.h"
#include "core/simple_point.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr SimplePoints kSimple;
static_assert(2 * kSimple.count() == 232);  // of the 512 patches of 3x3 pixels

struct Mismatch {
  uint32_t key;       // smaller first
  uint32_t position;  // in the padded image
};

// One slice at one threshold. Images are padded by a frame of background, one pixel wide, and indexed by position.
class Warping {
 public:
  Warping(const WarpingErrorArgs& args, int64_t task, uint32_t* workspace)
      : args_(args),
        task_(task),
        pitch_(args.width + 2),
        area_((args.height + 2) * pitch_),
        level_(reinterpret_cast<uint8_t*>(workspace)),
        planes_(workspace + area_),
        runs_(plane(2), plane(3)) {}

  void run() {
    const int64_t found = collect();
    const int64_t left = warp(sort(found), found);
    write_images();
    classify(left);
  }

 private:
  // Plane 0 of the workspace holds L as bytes, in its second quarter a flood's mark of each run, and in its last one a
  // number per column. Planes 1 and 2, then 3 and 4, hold mismatches while they are sorted. Afterwards:
  // plane 1 the residual positions, planes 2 and 3 the runs, plane 4 their components, plane 5 the queue of a flood.
  Mismatch* mismatches(int buffer) const { return reinterpret_cast<Mismatch*>(planes_ + 2 * buffer * area_); }
  uint32_t* plane(int number) const { return planes_ + (number - 1) * area_; }
  uint32_t* columns() const { return planes_ - pitch_; }
  uint8_t* marks() const { return level_ + area_; }

  // Fills L and lists its mismatches row by row in buffer 0; columns()[x] is how many lie in the padded column x.
  int64_t collect() {
    const int64_t pixels = args_.height * args_.width, first = task_ / args_.levels * pixels;
    const uint8_t *truth = args_.truth + first, *mask = args_.mask ? args_.mask + first : nullptr;
    const float* probability = args_.probability + first;
    const float threshold = args_.thresholds[task_ % args_.levels];
    Mismatch* out = mismatches(0);
    memset(level_, 0, 2 * area_);  // the marks, too
    memset(columns(), 0, pitch_ * sizeof(uint32_t));
    int64_t count = 0;
    for (int64_t y = 0, i = 0; y < args_.height; ++y) {
      for (int64_t x = 1; x <= args_.width; ++x, ++i) {
        const int64_t position = (y + 1) * pitch_ + x;
        level_[position] = truth[i] != 0;
        const bool proposed = probability[i] > threshold;
        // |P - t|; a float without a sign is ordered as its bits are.
        const float distance = proposed ? probability[i] - threshold : threshold - probability[i];
        uint32_t bits;
        memcpy(&bits, &distance, sizeof bits);
        const bool differs = (truth[i] != 0) != proposed && !(mask && mask[i] == 0);
        out[count] = {~bits, static_cast<uint32_t>(position)};  // overwritten unless it differs
        count += differs;
        columns()[x] += differs;
      }
    }
    return count;
  }

  // Stable radix sort: by column, then by the three digits of the key. Returns the buffer that holds the result.
  int sort(int64_t count) const {
    constexpr int kBits = 11, kDigits = 3;
    uint32_t bins[kDigits][1 << kBits] = {};
    Mismatch *from = mismatches(0), *to = mismatches(1);
    for (int64_t i = 0; i < count; ++i) {
      for (int d = 0; d < kDigits; ++d) ++bins[d][digit<kBits>(from[i].key, d)];
    }
    make_offsets(columns(), pitch_);
    for (int64_t i = 0, row = 0; i < count; ++i) {
      while (from[i].position >= row + pitch_) row += pitch_;
      to[columns()[from[i].position - row]++] = from[i];
    }
    int buffer = 1;
    for (int d = 0; d < kDigits; ++d) {
      if (count == 0 || bins[d][digit<kBits>(mismatches(buffer)->key, d)] == count) continue;  // all the same digit
      make_offsets(bins[d], 1 << kBits);
      from = mismatches(buffer);
      to = mismatches(buffer ^= 1);
      for (int64_t i = 0; i < count; ++i) to[bins[d][digit<kBits>(from[i].key, d)]++] = from[i];
    }
    return buffer;
  }

  template <int bits>
  static uint32_t digit(uint32_t key, int number) {
    return key >> (number * bits) & ((1u << bits) - 1);
  }

  static void make_offsets(uint32_t* counts, int64_t size) {
    uint32_t offset = 0;
    for (int64_t i = 0; i < size; ++i) {
      const uint32_t count = counts[i];
      counts[i] = offset;
      offset += count;
    }
  }

  // The rounds. Leaves the positions of the residual mismatches in plane 1 and returns their number.
  int64_t warp(int buffer, int64_t count) {
    const Mismatch* sorted = mismatches(buffer);
    uint32_t* left = plane(1);  // may overlap `sorted`, but is written behind where it is read
    for (int64_t i = 0; i < count; ++i) left[i] = sorted[i].position;
    for (int64_t before = -1; count != before;) {
      before = count;
      count = 0;
      for (int64_t i = 0; i < before; ++i) {
        const uint32_t position = left[i];
        left[count] = position;
        const bool simple = kSimple[neighbourhood_of(level_ + position, pitch_)];
        level_[position] ^= simple;
        count += !simple;
      }
    }
    return count;
  }

  void write_images() const {
    const int64_t pixels = args_.height * args_.width;
    if (args_.residual) memset(args_.residual + task_ * pixels, 0, pixels);
    for (int64_t y = 0; args_.warped && y < args_.height; ++y) {
      memcpy(args_.warped + task_ * pixels + y * args_.width, level_ + (y + 1) * pitch_ + 1, args_.width);
    }
  }

  void classify(int64_t count) {
    int64_t* counts = args_.counts + task_ * kWarpingErrorTypes;
    for (int i = 0; i < kWarpingErrorTypes; ++i) counts[i] = 0;
    if (count == 0) return;
    label_components();
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t position = plane(1)[i], y = position / pitch(), x = position % pitch();
      const WarpingErrorType type = type_of(y, x);
      ++counts[type - 1];
      if (args_.residual) args_.residual[(task_ * args_.height + y - 1) * args_.width + x - 1] = type;
    }
  }

  // Union-find over the runs of L: plane 4 holds another run of the component, itself at the root.
  void label_components() {
    const uint32_t count = runs_.find(level_, area_);
    uint32_t* parent = plane(4);
    for (uint32_t run = 1; run < count; run += 2) {
      parent[run] = run;
      runs_.each_object(runs_.first(run) - pitch_, runs_.last(run) - pitch_,
                        [&](uint32_t above) { unite(run, above); });
    }
  }

  uint32_t root(uint32_t run) const {
    uint32_t* parent = plane(4);
    while (parent[run] != run) run = parent[run] = parent[parent[run]];
    return run;
  }

  void unite(uint32_t a, uint32_t b) {
    a = root(a);
    b = root(b);
    plane(4)[a < b ? b : a] = a < b ? a : b;
  }

  // By the components (0 = background) among those of the eight neighbours that lie in the image.
  WarpingErrorType type_of(int64_t y, int64_t x) const {
    uint32_t ids[8];
    int distinct = 0;
    for (int k = 0; k < 8; ++k) {
      const int64_t ny = y + kRingY[k], nx = x + kRingX[k];
      if (ny < 1 || ny > args_.height || nx < 1 || nx > args_.width) continue;
      const uint32_t run = runs_.of(ny * pitch_ + nx), id = run % 2 ? root(run) : 0;
      bool known = false;
      for (int i = 0; i < distinct; ++i) known |= ids[i] == id;
      if (!known) ids[distinct++] = id;
    }
    const bool object = level_[y * pitch_ + x];
    if (distinct > 2) return object ? kSplit : kMerge;
    if (distinct == 2) return !object ? kHoleAddition : cuts_object(y, x) ? kSplit : kHoleDeletion;
    if (distinct == 1 && ids[0] != 0) return object ? kHoleAddition : kHoleDeletion;
    return object ? kObjectDeletion : kObjectAddition;
  }

  // Whether the objects around p are more than one within the window once p is taken away. Every arc of object on the
  // ring floods the window; it is cut off when it has nothing left to flood before all arcs have met.
  bool cuts_object(int64_t y, int64_t x) const {
    const int64_t centre = y * pitch_ + x;
    Flood flood(runs_, pitch_, window(y, args_.height), window(x, args_.width), centre, marks(), plane(5));
    int arcs = 0;
    const uint32_t objects = neighbourhood_of(level_ + centre, pitch_);
    for (int k = 0; k < 8; ++k) {
      if (!(objects >> k & 1) || (objects >> ((k + 7) & 7) & 1)) continue;  // background, or not the first of its arc
      flood.add_source(y + kRingY[k], centre + kRingY[k] * pitch_ + kRingX[k]);
      ++arcs;
    }
    return arcs > 1 && !flood.unites_sources();
  }

  Extent window(int64_t centre, int64_t size) const {
    if (args_.radius < 0) return {1, size};
    const int64_t first = centre - args_.radius, last = centre + args_.radius;
    return {first < 1 ? 1 : first, last > size ? size : last};
  }

  uint32_t pitch() const { return static_cast<uint32_t>(pitch_); }

  // The neighbours in the order of core/simple_point.h: consecutive ones share an edge.
  static constexpr int kRingY[8] = {-1, -1, -1, 0, 1, 1, 1, 0};
  static constexpr int kRingX[8] = {-1, 0, 1, 1, 1, 0, -1, -1};

  const WarpingErrorArgs& args_;
  const int64_t task_;
  const int64_t pitch_;
  const int64_t area_;
  uint8_t* const level_;
  uint32_t* const planes_;
  Runs runs_;
};

}  // namespace

void warping_error(const WarpingErrorArgs& args, const Threads& threads) {
  const int64_t tasks = args.slices * args.levels, plane = (args.height + 2) * (args.width + 2);
  const int64_t lanes = args.lanes < tasks ? args.lanes : tasks;
  parallel_for(threads, lanes, 1, [&](int64_t begin, int64_t end) {
    for (int64_t lane = begin; lane < end; ++lane) {
      uint32_t* workspace = args.workspace + lane * kWarpingErrorPlanes * plane;
      for (int64_t task = lane; task < tasks; task += lanes) Warping(args, task, workspace).run();
    }
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
