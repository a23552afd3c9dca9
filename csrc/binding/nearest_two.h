// What nearest_two_distances and weight_map check alike.
#pragma once

#include <string>

#include "binding/check.h"
#include "binding/run.h"
#include "ops/nearest_two_distances.h"

namespace unet_fast {

inline void check_distance_side(const Check& check, const InstanceMaps& maps) {
  check.that(maps.height <= kMaxDistanceSide && maps.width <= kMaxDistanceSide, "labels",
             "at most " + std::to_string(kMaxDistanceSide) + " pixels a side",
             std::to_string(maps.height) + " x " + std::to_string(maps.width));
}

// Returns the number of slots of the workspace.
inline int check_nearest_two_workspace(const Check& check, const Tensor& workspace, const Tensor& labels,
                                       const InstanceMaps& maps) {
  const int slots = torch_threads().count;
  const int64_t bytes = labels.device < 0 ? nearest_two_workspace_cpu(maps, slots) : nearest_two_workspace_cuda(maps);
  check.dims(workspace, "workspace", 1, "[bytes]");
  check.dtype(workspace, "workspace", {DType::uint8});
  check.contiguous(workspace, "workspace");
  check.device(workspace, "workspace", labels, "labels");
  check.that(workspace.size[0] >= bytes, "workspace", std::to_string(bytes) + " bytes", shape_of(workspace));
  return slots;
}

}  // namespace unet_fast
