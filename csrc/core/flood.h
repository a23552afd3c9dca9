// A flood of the objects within a window of a binary image, in steps of a run (core/runs.h).
#pragma once

#include <cstdint>

#include "core/runs.h"

namespace unet_fast {

// A flood of the objects within a window from several sources at once: do they meet when one pixel is taken away? The
// fronts advance in turn, so a small object is exhausted soon, however large the others are.
//
// The pixel cuts its run in two: the left part keeps its number, the right one has that of the background behind it.
class Flood {
 public:
  // marks: [runs] of zeros, and zeros again when the flood ends. queue: [2 x objects' runs].
  UNET_FAST_METHOD Flood(const Runs& runs, int64_t pitch, Extent rows, Extent columns, int64_t removed, uint8_t* marks,
                         uint32_t* queue)
      : runs_(runs),
        pitch_(pitch),
        rows_(rows),
        columns_(columns),
        removed_(removed),
        left_part_(runs.of(removed)),
        marks_(marks),
        queue_(queue) {}

  UNET_FAST_METHOD ~Flood() {
    for (int64_t i = 0; i < tail_; ++i) marks_[queue_[2 * i]] = 0;
  }

  // `pixel` is object, lies within the window and is not the one taken away; at most four sources.
  UNET_FAST_METHOD void add_source(int64_t y, int64_t pixel) {
    const uint32_t run = runs_.of(pixel);
    group_[sources_] = sources_;
    push(run + (run == left_part_ && pixel > removed_), y, sources_++);
    ++groups_;
  }

  // True once all sources have met, false once one group of them is closed. At least two sources.
  UNET_FAST_METHOD bool unites_sources() {
    for (int64_t head = 0;; ++head) {
      const uint32_t run = queue_[2 * head];
      const int64_t y = queue_[2 * head + 1], row = y * pitch_;
      const int source = marks_[run] - 1;
      const bool right_part = run == left_part_ + 1;
      int64_t first = right_part ? removed_ + 1 : runs_.first(run);
      int64_t last = run == left_part_ ? removed_ - 1 : runs_.last(run - right_part);
      if (first < row + columns_.first) first = row + columns_.first;
      if (last > row + columns_.last) last = row + columns_.last;
      if (y > rows_.first) visit(y - 1, first - pitch_, last - pitch_, source);
      if (y < rows_.last) visit(y + 1, first + pitch_, last + pitch_, source);
      if (groups_ == 1) return true;
      if (--waiting_[group_[source]] == 0) return false;
    }
  }

 private:
  static constexpr int kSources = 4;

  UNET_FAST_METHOD void visit(int64_t y, int64_t first, int64_t last, int source) {
    runs_.each(1, first, last, [&](uint32_t run) {
      if (run != left_part_) return reach(run, y, source);
      if (first < removed_ && runs_.first(run) < removed_) reach(run, y, source);
      if (last > removed_ && runs_.last(run) > removed_) reach(run + 1, y, source);
    });
  }

  UNET_FAST_METHOD void reach(uint32_t run, int64_t y, int source) {
    if (marks_[run] == 0) {
      push(run, y, source);
    } else {
      join(source, marks_[run] - 1);
    }
  }

  UNET_FAST_METHOD void push(uint32_t run, int64_t y, int source) {
    marks_[run] = static_cast<uint8_t>(source + 1);
    queue_[2 * tail_] = run;
    queue_[2 * tail_++ + 1] = static_cast<uint32_t>(y);
    ++waiting_[group_[source]];
  }

  UNET_FAST_METHOD void join(int a, int b) {
    const int kept = group_[a], gone = group_[b];
    if (kept == gone) return;
    for (int i = 0; i < sources_; ++i) group_[i] = group_[i] == gone ? kept : group_[i];
    waiting_[kept] += waiting_[gone];
    --groups_;
  }

  const Runs& runs_;
  const int64_t pitch_;
  const Extent rows_, columns_;
  const int64_t removed_;
  const uint32_t left_part_;
  uint8_t* const marks_;
  uint32_t* const queue_;
  int64_t tail_ = 0;
  int sources_ = 0, groups_ = 0;
  int group_[kSources] = {};        // of each source
  int64_t waiting_[kSources] = {};  // runs of each group in the queue
};

}  // namespace unet_fast
