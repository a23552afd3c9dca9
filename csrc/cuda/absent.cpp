// Compiled instead of the .cu files where there is no nvcc: every CUDA entry point answers in words.
#include "ops/mirror_tiles.h"
#include "ops/target_classes.h"
#include "ops/nearest_two_distances.h"
#include "ops/weight_map.h"
#include "ops/weighted_cross_entropy.h"

namespace unet_fast {
namespace {
constexpr const char* kAbsent =
    "this build of unet_fast has no CUDA kernels: install nvcc and run `pip install .` again, or use CPU tensors";
}

const char* mirror_tiles_cuda(const MirrorTilesArgs&, const Stream&) { return kAbsent; }
const char* target_classes_cuda(const TargetClassesArgs&, const Stream&) { return kAbsent; }
int64_t nearest_two_workspace_cuda(const InstanceMaps&) { return 0; }
const char* nearest_two_distances_cuda(const NearestTwoDistancesArgs&, const Stream&) { return kAbsent; }
const char* weight_map_cuda(const WeightMapArgs&, const Stream&) { return kAbsent; }
const char* weighted_cross_entropy_cuda(const WeightedCrossEntropyArgs&, const Stream&) { return kAbsent; }
const char* weighted_cross_entropy_backward_cuda(const WeightedCrossEntropyBackwardArgs&, const Stream&) {
  return kAbsent;
}

}  // namespace unet_fast
