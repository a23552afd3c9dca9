// Compiled instead of the .cu files where there is no nvcc: every CUDA entry point answers in words.
#include "ops/elastic_warp.h"
#include "ops/mirror_tiles.h"
#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"
#include "ops/up_conv.h"
#include "ops/max_pool.h"
#include "ops/head.h"
#include "ops/stitch_tiles.h"
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
const char* conv_relu_cuda(const ConvReluArgs&, const Stream&) { return kAbsent; }
const char* conv_relu_cuda_refuses(const ConvReluArgs&, int) { return nullptr; }
ConvAlgorithm conv_relu_cuda_algorithm(const ConvReluArgs&, int) { return ConvAlgorithm::automatic; }
int64_t conv_relu_cuda_workspace(const ConvReluArgs&) { return 0; }
bool conv_relu_cuda_fuses(const ConvReluArgs&, int) { return false; }
const char* conv_relu_weight_grad_cuda(const ConvReluWeightGradArgs&, const Stream&) { return kAbsent; }
const char* conv_relu_weight_grad_cuda_refuses(const ConvReluWeightGradArgs&, int) { return nullptr; }
int64_t conv_relu_weight_grad_cuda_workspace(const ConvReluWeightGradArgs&) { return 0; }
const char* up_conv_cuda(const UpConvArgs&, const Stream&) { return kAbsent; }
const char* up_conv_data_grad_cuda(const UpConvDataGradArgs&, const Stream&) { return kAbsent; }
const char* up_conv_weight_grad_cuda(const UpConvWeightGradArgs&, const Stream&) { return kAbsent; }
int64_t up_conv_cuda_workspace(const UpConvArgs&) { return 0; }
int64_t up_conv_data_grad_cuda_workspace(const UpConvDataGradArgs&) { return 0; }
int64_t up_conv_weight_grad_cuda_workspace(const UpConvWeightGradArgs&) { return 0; }
const char* max_pool_cuda(const MaxPoolArgs&, const Stream&) { return kAbsent; }
const char* max_pool_backward_cuda(const MaxPoolBackwardArgs&, const Stream&) { return kAbsent; }
const char* head_cuda(const HeadArgs&, const Stream&) { return kAbsent; }
const char* head_backward_cuda(const HeadBackwardArgs&, const Stream&) { return kAbsent; }
int64_t head_backward_cuda_workspace(const HeadBackwardArgs&) { return 0; }
const char* stitch_tiles_cuda(const StitchTilesArgs&, const Stream&) { return kAbsent; }
const char* elastic_warp_cuda(const ElasticWarpArgs&, const Stream&) { return kAbsent; }
const char* target_classes_cuda(const TargetClassesArgs&, const Stream&) { return kAbsent; }
int64_t nearest_two_workspace_cuda(const InstanceMaps&) { return 0; }
const char* nearest_two_distances_cuda(const NearestTwoDistancesArgs&, const Stream&) { return kAbsent; }
const char* weight_map_cuda(const WeightMapArgs&, const Stream&) { return kAbsent; }
const char* weighted_cross_entropy_cuda(const WeightedCrossEntropyArgs&, const Stream&) { return kAbsent; }
const char* weighted_cross_entropy_backward_cuda(const WeightedCrossEntropyBackwardArgs&, const Stream&) {
  return kAbsent;
}

}  // namespace unet_fast
