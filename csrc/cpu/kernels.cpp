// The table of one instruction set, in the order of CpuKernels.
#include "cpu/kernels.h"

#define UNET_FAST_STRING_(name) #name
#define UNET_FAST_STRING(name) UNET_FAST_STRING_(name)

namespace unet_fast::UNET_FAST_ISA {

using namespace UNET_FAST_VECTOR_ISA;

const CpuKernels kernels = {
    .instruction_set = UNET_FAST_STRING(UNET_FAST_ISA),
    .mirror_tiles = mirror_tiles,
    .conv_relu = conv_relu,
    .conv_relu_fuses = conv_relu_fuses,
    .conv_relu_pack = conv_relu_pack,
    .conv_relu_packed = conv_relu_packed,
    .conv_relu_workspace = conv_relu_workspace,
    .conv_relu_weight_grad = conv_relu_weight_grad,
    .conv_relu_weight_grad_workspace = conv_relu_weight_grad_workspace,
    .up_conv = up_conv,
    .up_conv_workspace = up_conv_workspace,
    .up_conv_data_grad = up_conv_data_grad,
    .up_conv_data_grad_workspace = up_conv_data_grad_workspace,
    .up_conv_weight_grad = up_conv_weight_grad,
    .up_conv_weight_grad_workspace = up_conv_weight_grad_workspace,
    .max_pool = max_pool,
    .max_pool_backward = max_pool_backward,
    .head = head,
    .head_workspace = head_workspace,
    .head_backward = head_backward,
    .head_backward_workspace = head_backward_workspace,
    .stitch_tiles = stitch_tiles,
    .elastic_warp = elastic_warp,
    .warping_error = warping_error,
    .target_classes = target_classes,
    .nearest_two_distances = nearest_two_distances,
    .weight_map = weight_map,
    .weighted_cross_entropy = weighted_cross_entropy,
    .weighted_cross_entropy_backward = weighted_cross_entropy_backward,
};

}  // namespace unet_fast::UNET_FAST_ISA
