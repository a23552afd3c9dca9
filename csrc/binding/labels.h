// What the operators on instance maps check alike.
#pragma once

#include <optional>

#include "binding/check.h"
#include "core/instance.h"

namespace unet_fast {

// Checks the labels and returns the view of them that the kernels take.
inline InstanceMaps instance_maps(const Check& check, const Tensor& labels,
                                  const std::optional<int64_t>& ignore_label) {
  check.dims(labels, "labels", 3, "[N, H, W]");
  check.dtype(labels, "labels", {DType::uint8, DType::uint16, DType::uint32, DType::int32, DType::int64});
  check.contiguous(labels, "labels");
  return {
      .labels = labels.data,
      .dtype = labels.dtype,
      .ignored = {.given = ignore_label.has_value(), .value = ignore_label.value_or(0)},
      .images = labels.size[0],
      .height = labels.size[1],
      .width = labels.size[2],
  };
}

}  // namespace unet_fast
