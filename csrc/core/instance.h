// What a label means: a positive id is an instance, unless it is the label that marks ignored pixels.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/portable.h"

namespace unet_fast {

constexpr uint8_t kIgnoredClass = 255;

// The label of ignored pixels, as the caller names it.
struct IgnoredLabel {
  bool given;     // whether there is one
  int64_t value;  // of any sign; a value that the labels' dtype cannot hold never occurs
};

// A batch of instance maps.
struct InstanceMaps {
  const void* labels;    // [N, H, W] dense: instance ids; 0 and less is background
  DType dtype;           // uint8, uint16, uint32, int32 or int64
  IgnoredLabel ignored;  // pixels of this label are ignored and belong to no instance
  int64_t images;        // N
  int64_t height;        // H, pixels
  int64_t width;         // W, pixels

  UNET_FAST_METHOD int64_t pixels() const { return images * height * width; }
};

// The same for labels of type T. Where there is none, `ignored` is 0, which is no instance anyway.
template <class T>
struct LabelMeaning {
  T ignored;
  bool has_ignored;

  explicit UNET_FAST_METHOD LabelMeaning(const IgnoredLabel& label)
      : ignored(static_cast<T>(label.value)), has_ignored(label.given) {
    if (!has_ignored || static_cast<int64_t>(ignored) != label.value) ignored = T{0}, has_ignored = false;
  }
  UNET_FAST_METHOD bool is_instance(T label) const { return (label > T{0}) & (label != ignored); }
  UNET_FAST_METHOD bool is_ignored(T label) const { return (label == ignored) & has_ignored; }
};

}  // namespace unet_fast
