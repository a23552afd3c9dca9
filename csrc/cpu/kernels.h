// The CPU kernels of one instruction set, and the table through which they are chosen at load.
// Every .cpp beside this file is compiled once per instruction set with UNET_FAST_ISA = generic, avx2, avx512 or amx
// and defines its functions in that namespace; for amx, the convolutions alone are. No std containers here: see
// core/portable.h.
#pragma once

#include "ops/elastic_warp.h"
#include "ops/mirror_tiles.h"
#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"
#include "ops/up_conv.h"
#include "ops/max_pool.h"
#include "ops/head.h"
#include "ops/stitch_tiles.h"
#include "ops/warping_error.h"
#include "ops/target_classes.h"
#include "ops/nearest_two_distances.h"
#include "ops/weight_map.h"
#include "ops/weighted_cross_entropy.h"

namespace unet_fast {

template <class Args>
using CpuKernel = void (*)(const Args& args, const Threads& threads);

// Floats of scratch memory that the kernel wants in args.workspace.
template <class Args>
using CpuWorkspace = int64_t (*)(const Args& args, const Threads& threads);

struct CpuKernels {
  const char* instruction_set;
  CpuKernel<MirrorTilesArgs> mirror_tiles;
  CpuKernel<ConvReluArgs> conv_relu;
  bool (*conv_relu_fuses)(const ConvReluArgs& args);
  CpuKernel<ConvReluArgs> conv_relu_pack;
  int64_t (*conv_relu_packed)(const ConvReluArgs& args);
  CpuWorkspace<ConvReluArgs> conv_relu_workspace;
  CpuKernel<ConvReluWeightGradArgs> conv_relu_weight_grad;
  CpuWorkspace<ConvReluWeightGradArgs> conv_relu_weight_grad_workspace;
  CpuKernel<UpConvArgs> up_conv;
  CpuWorkspace<UpConvArgs> up_conv_workspace;
  CpuKernel<UpConvDataGradArgs> up_conv_data_grad;
  CpuWorkspace<UpConvDataGradArgs> up_conv_data_grad_workspace;
  CpuKernel<UpConvWeightGradArgs> up_conv_weight_grad;
  CpuWorkspace<UpConvWeightGradArgs> up_conv_weight_grad_workspace;
  CpuKernel<MaxPoolArgs> max_pool;
  CpuKernel<MaxPoolBackwardArgs> max_pool_backward;
  CpuKernel<HeadArgs> head;
  CpuWorkspace<HeadArgs> head_workspace;
  CpuKernel<HeadBackwardArgs> head_backward;
  CpuWorkspace<HeadBackwardArgs> head_backward_workspace;
  CpuKernel<StitchTilesArgs> stitch_tiles;
  CpuKernel<ElasticWarpArgs> elastic_warp;
  CpuKernel<WarpingErrorArgs> warping_error;
  CpuKernel<TargetClassesArgs> target_classes;
  CpuKernel<NearestTwoDistancesArgs> nearest_two_distances;
  CpuKernel<WeightMapArgs> weight_map;
  CpuKernel<WeightedCrossEntropyArgs> weighted_cross_entropy;
  CpuKernel<WeightedCrossEntropyBackwardArgs> weighted_cross_entropy_backward;
};

#ifdef UNET_FAST_ISA
// The convolutions: what has a use for a unit that multiplies matrices.
namespace UNET_FAST_ISA {

extern const CpuKernels kernels;

void conv_relu(const ConvReluArgs& args, const Threads& threads);
bool conv_relu_fuses(const ConvReluArgs& args);
void conv_relu_pack(const ConvReluArgs& args, const Threads& threads);
int64_t conv_relu_packed(const ConvReluArgs& args);
int64_t conv_relu_workspace(const ConvReluArgs& args, const Threads& threads);
void conv_relu_weight_grad(const ConvReluWeightGradArgs& args, const Threads& threads);
int64_t conv_relu_weight_grad_workspace(const ConvReluWeightGradArgs& args, const Threads& threads);
void up_conv(const UpConvArgs& args, const Threads& threads);
int64_t up_conv_workspace(const UpConvArgs& args, const Threads& threads);
void up_conv_data_grad(const UpConvDataGradArgs& args, const Threads& threads);
int64_t up_conv_data_grad_workspace(const UpConvDataGradArgs& args, const Threads& threads);
void up_conv_weight_grad(const UpConvWeightGradArgs& args, const Threads& threads);
int64_t up_conv_weight_grad_workspace(const UpConvWeightGradArgs& args, const Threads& threads);

}  // namespace UNET_FAST_ISA

// The others, which amx shares with avx512.
namespace UNET_FAST_VECTOR_ISA {

void mirror_tiles(const MirrorTilesArgs& args, const Threads& threads);
void max_pool(const MaxPoolArgs& args, const Threads& threads);
void max_pool_backward(const MaxPoolBackwardArgs& args, const Threads& threads);
void head(const HeadArgs& args, const Threads& threads);
int64_t head_workspace(const HeadArgs& args, const Threads& threads);
void head_backward(const HeadBackwardArgs& args, const Threads& threads);
int64_t head_backward_workspace(const HeadBackwardArgs& args, const Threads& threads);
void stitch_tiles(const StitchTilesArgs& args, const Threads& threads);
void elastic_warp(const ElasticWarpArgs& args, const Threads& threads);
void warping_error(const WarpingErrorArgs& args, const Threads& threads);
void target_classes(const TargetClassesArgs& args, const Threads& threads);
void nearest_two_distances(const NearestTwoDistancesArgs& args, const Threads& threads);
void weight_map(const WeightMapArgs& args, const Threads& threads);
void weighted_cross_entropy(const WeightedCrossEntropyArgs& args, const Threads& threads);
void weighted_cross_entropy_backward(const WeightedCrossEntropyBackwardArgs& args, const Threads& threads);

}  // namespace UNET_FAST_VECTOR_ISA
#endif

}  // namespace unet_fast
