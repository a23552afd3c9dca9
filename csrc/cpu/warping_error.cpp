// warping_error on the CPU. The truth L is warped towards the proposal T = (P > t) by flipping simple points, which
// keeps the topology of objects and background:
//
//   repeat  for p in {L != T, mask} by |P - t| descending, ties column by column: if simple(L, p): flip L[p]
//   until a round flips nothing
//
// A flip makes p agree with T for good, so the mismatches are sorted once (csrc/cpu/warping_rounds.h). What is left is
// classified by the components of L around it (csrc/cpu/residual_types.h).
#include "cpu/kernels.h"

#include "cpu/residual_types.h"
#include "cpu/warping_rounds.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

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
        planes_(workspace + area_) {}

  void run() {
    const int64_t found = collect();
    const int64_t left = warp(sort(found), found);
    write_images();
    classify(left);
  }

 private:
  // Plane 0 of the workspace holds L as bytes, in its second quarter a flood's mark of each run, and in its last one a
  // number per column. Planes 1 and 2, then 3 and 4, hold mismatches while they are sorted; plane 5, and in a tiny
  // image plane 6, who waits for a visit. Afterwards: plane 1 the residual positions, planes 2 and 3 the runs, plane 4
  // their components, plane 5 the queue of a flood, plane 6 the boxes of background.
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
        const uint32_t interior = truth[i] != 0, proposed = probability[i] > threshold;
        const uint32_t differs = (interior ^ proposed) & (mask ? mask[i] != 0 : 1);
        level_[position] = interior;
        out[count] = {~distance_bits(probability[i], threshold), static_cast<uint32_t>(position)};  // or overwritten
        count += differs;
        columns()[x] += differs;
      }
    }
    return count;
  }

  // |P - t|: a float without its sign is ordered as its bits are.
  static uint32_t distance_bits(float probability, float threshold) {
    const float difference = probability - threshold;
    uint32_t bits;
    memcpy(&bits, &difference, sizeof bits);
    return bits & 0x7fffffff;
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

  // The rounds. Leaves the positions of the residual mismatches, row by row, in plane 1 and returns their number.
  int64_t warp(int buffer, int64_t count) {
    const Mismatch* sorted = mismatches(buffer);
    uint32_t* order = plane(1 + 2 * buffer);  // overlaps `sorted`, but is written behind where it is read
    for (int64_t i = 0; i < count; ++i) order[i] = sorted[i].position;
    WarpingRounds rounds(level_, area_, pitch_, order, count, plane(4 - 2 * buffer), plane(5));
    rounds.run();
    int64_t left = 0;
    for (int64_t p = 0; p < area_; ++p) {
      plane(1)[left] = static_cast<uint32_t>(p);
      left += rounds.is_mismatch(p);
    }
    return left;
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
    const ResidualTypes types(level_, args_.height, args_.width, args_.radius,
                              {.words = plane(2),
                               .last = plane(3),
                               .ids = plane(4),
                               .boxes = reinterpret_cast<Components::Box*>(plane(6)),
                               .marks = marks(),
                               .queue = plane(5)});
    for (int64_t i = 0, y = 0; i < count; ++i) {
      const int64_t position = plane(1)[i];
      while (position >= (y + 1) * pitch_) ++y;
      const int64_t x = position - y * pitch_;
      const WarpingErrorType type = types.of(y, x);
      ++counts[type - 1];
      if (args_.residual) args_.residual[(task_ * args_.height + y - 1) * args_.width + x - 1] = type;
    }
  }

  const WarpingErrorArgs& args_;
  const int64_t task_;
  const int64_t pitch_;
  const int64_t area_;
  uint8_t* const level_;
  uint32_t* const planes_;
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
