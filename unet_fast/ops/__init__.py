"""The operators: `torch.ops.unet_fast.*` behind documented functions, on CPU and CUDA."""

from unet_fast.ops._native import BuildInfo, build_info, empty_cache, with_threads_awake
from unet_fast.ops.conv_relu import conv_relu, conv_relu_algorithm, conv_relu_pool, pack_conv_relu
from unet_fast.ops.elastic_warp import Warp, elastic_warp
from unet_fast.ops.head import head
from unet_fast.ops.max_pool import crop_and_pool, max_pool
from unet_fast.ops.mirror_tiles import mirror_tiles
from unet_fast.ops.nearest_two_distances import nearest_two_distances
from unet_fast.ops.stitch_tiles import stitch_tiles
from unet_fast.ops.target_classes import target_classes
from unet_fast.ops.up_conv import up_conv
from unet_fast.ops.warping_error import WarpingErrors, warping_error
from unet_fast.ops.weight_map import weight_map
from unet_fast.ops.weighted_cross_entropy import weighted_cross_entropy

__all__ = [
    "BuildInfo",
    "Warp",
    "WarpingErrors",
    "build_info",
    "conv_relu",
    "conv_relu_algorithm",
    "conv_relu_pool",
    "crop_and_pool",
    "elastic_warp",
    "empty_cache",
    "head",
    "max_pool",
    "mirror_tiles",
    "nearest_two_distances",
    "pack_conv_relu",
    "stitch_tiles",
    "target_classes",
    "up_conv",
    "warping_error",
    "weight_map",
    "weighted_cross_entropy",
    "with_threads_awake",
]
