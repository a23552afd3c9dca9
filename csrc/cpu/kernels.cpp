// The table of one instruction set, in the order of CpuKernels.
#include "cpu/kernels.h"

#define UNET_FAST_STRING_(name) #name
#define UNET_FAST_STRING(name) UNET_FAST_STRING_(name)

namespace unet_fast::UNET_FAST_ISA {

const CpuKernels kernels = {
    .instruction_set = UNET_FAST_STRING(UNET_FAST_ISA),
    .mirror_tiles = mirror_tiles,
    .target_classes = target_classes,
    .nearest_two_distances = nearest_two_distances,
    .weight_map = weight_map,
    .weighted_cross_entropy = weighted_cross_entropy,
    .weighted_cross_entropy_backward = weighted_cross_entropy_backward,
};

}  // namespace unet_fast::UNET_FAST_ISA
