// nearest_two_distances: d1 and d2 of equation (2) of the paper for every pixel, exactly: the Euclidean distances to
// the nearest pixel centre of the nearest and of the second nearest distinct instance.
//
// Lemma: seen from a pixel, only the two vertically nearest distinct instances of each column can be among the two
// nearest of all. So a pass over the columns finds two candidates per pixel, and a pass over the rows searches the
// candidates left and right until the horizontal distance alone is too far: the time does not depend on the number of
// instances. Squared distances are whole numbers; the square root is rounded once.
#pragma once

#include <cstdint>

#include "core/instance.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

// No side of an image may be longer: twice the square must stay below kInfiniteSquare.
constexpr int32_t kMaxDistanceSide = 23170;
// The squared distance to an instance that does not exist; anything from here on means the same.
constexpr int32_t kInfiniteSquare = 1 << 30;
// From this reach on the search is not cut off: every distance in an image is smaller.
constexpr int32_t kUnlimitedReach = 1 << 17;

struct NearestTwoDistancesArgs {
  InstanceMaps maps;
  int32_t reach;    // pixels: d1 and d2 are exact where d1 + d2 <= reach; elsewhere d1 + d2 comes out larger than that
  float* d1;        // [N, H, W] dense, pixels: 0 inside an instance, infinite where there is none
  float* d2;        // [N, H, W] dense, pixels: infinite where there is no second instance
  void* workspace;  // nearest_two_workspace_* bytes, 8-byte aligned
  int slots;        // CPU: bands of rows that are searched at the same time, each with its own part of the workspace
};

void nearest_two_distances_cpu(const NearestTwoDistancesArgs& args, const Threads& threads);
const char* nearest_two_distances_cuda(const NearestTwoDistancesArgs& args, const Stream& stream);  // null, or an error

// Bytes of scratch memory; for weight_map too.
int64_t nearest_two_workspace_cpu(const InstanceMaps& maps, int slots);
int64_t nearest_two_workspace_cuda(const InstanceMaps& maps);

}  // namespace unet_fast
