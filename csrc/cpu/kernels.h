// The CPU kernels of one instruction set, and the table through which they are chosen at load.
// Every .cpp beside this file is compiled once per instruction set with UNET_FAST_ISA = generic, avx2 or avx512 and
// defines its functions in that namespace. No std containers here: see core/portable.h.
#pragma once

#include "ops/mirror_tiles.h"
#include "ops/target_classes.h"
#include "ops/nearest_two_distances.h"
#include "ops/weight_map.h"
#include "ops/weighted_cross_entropy.h"

namespace unet_fast {

template <class Args>
using CpuKernel = void (*)(const Args& args, const Threads& threads);

struct CpuKernels {
  const char* instruction_set;
  CpuKernel<MirrorTilesArgs> mirror_tiles;
  CpuKernel<TargetClassesArgs> target_classes;
  CpuKernel<NearestTwoDistancesArgs> nearest_two_distances;
  CpuKernel<WeightMapArgs> weight_map;
  CpuKernel<WeightedCrossEntropyArgs> weighted_cross_entropy;
  CpuKernel<WeightedCrossEntropyBackwardArgs> weighted_cross_entropy_backward;
};

#ifdef UNET_FAST_ISA
namespace UNET_FAST_ISA {

extern const CpuKernels kernels;

void mirror_tiles(const MirrorTilesArgs& args, const Threads& threads);
void target_classes(const TargetClassesArgs& args, const Threads& threads);
void nearest_two_distances(const NearestTwoDistancesArgs& args, const Threads& threads);
void weight_map(const WeightMapArgs& args, const Threads& threads);
void weighted_cross_entropy(const WeightedCrossEntropyArgs& args, const Threads& threads);
void weighted_cross_entropy_backward(const WeightedCrossEntropyBackwardArgs& args, const Threads& threads);

}  // namespace UNET_FAST_ISA
#endif

}  // namespace unet_fast
