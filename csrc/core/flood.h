// A flood of the objects (4-connected) of an image of 0 and 1 from several sources at once, within a window: do they
// meet? The fronts advance in turn, so a small object is exhausted soon, however large the others are.
#pragma once

#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

// First and last row or column, both included.
struct Extent {
  int64_t first, last;
  UNET_FAST_METHOD bool holds(int64_t i) const { return i >= first && i <= last; }
};

// The image is framed by background. Flooded pixels are marked in it and are 1 again when the flood ends. The queue's
// planes hold as many pixels as the window.
class Flood {
 public:
  UNET_FAST_METHOD Flood(uint8_t* image, int64_t pitch, Extent rows, Extent columns, uint32_t* queue_y,
                         uint32_t* queue_x)
      : image_(image), pitch_(pitch), rows_(rows), columns_(columns), queue_y_(queue_y), queue_x_(queue_x) {}

  UNET_FAST_METHOD ~Flood() {
    for (int64_t i = 0; i < tail_; ++i) image_[queue_y_[i] * pitch_ + queue_x_[i]] = kObject;
  }

  UNET_FAST_METHOD void add_source(int64_t y, int64_t x) {
    group_[sources_] = sources_;
    push(y, x, sources_++);
    ++groups_;
  }

  // True once all sources have met, false once one group of them is closed. At least two sources.
  UNET_FAST_METHOD bool unites_sources() {
    for (int64_t head = 0;; ++head) {
      const int64_t y = queue_y_[head], x = queue_x_[head];
      const int source = image_[y * pitch_ + x] - kFirstMark;
      visit(y - 1, x, source);
      visit(y, x - 1, source);
      visit(y, x + 1, source);
      visit(y + 1, x, source);
      if (groups_ == 1) return true;
      if (--waiting_[group_[source]] == 0) return false;
    }
  }

 private:
  static constexpr int kSources = 4;
  static constexpr uint8_t kObject = 1, kFirstMark = 2;  // a flooded pixel is kFirstMark + its source

  UNET_FAST_METHOD void visit(int64_t y, int64_t x, int source) {
    if (!rows_.holds(y) || !columns_.holds(x)) return;
    const uint8_t value = image_[y * pitch_ + x];
    if (value == kObject) push(y, x, source);
    if (value >= kFirstMark) join(source, value - kFirstMark);
  }

  UNET_FAST_METHOD void push(int64_t y, int64_t x, int source) {
    image_[y * pitch_ + x] = static_cast<uint8_t>(kFirstMark + source);
    queue_y_[tail_] = static_cast<uint32_t>(y);
    queue_x_[tail_++] = static_cast<uint32_t>(x);
    ++waiting_[group_[source]];
  }

  UNET_FAST_METHOD void join(int a, int b) {
    const int kept = group_[a], gone = group_[b];
    if (kept == gone) return;
    for (int i = 0; i < sources_; ++i) group_[i] = group_[i] == gone ? kept : group_[i];
    waiting_[kept] += waiting_[gone];
    --groups_;
  }

  uint8_t* const image_;
  const int64_t pitch_;
  const Extent rows_, columns_;
  uint32_t *const queue_y_, *const queue_x_;
  int64_t tail_ = 0;
  int sources_ = 0, groups_ = 0;
  int group_[kSources] = {};        // of each source
  int64_t waiting_[kSources] = {};  // pixels of each group in the queue
};

}  // namespace unet_fast
