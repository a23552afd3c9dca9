"""The operators again in plain PyTorch, with the same names and signatures: oracle, opponent and `backend="torch"`."""

from unet_fast.reference.conv_relu import conv_relu, conv_relu_pool
from unet_fast.reference.elastic_warp import elastic_warp
from unet_fast.reference.head import head
from unet_fast.reference.max_pool import crop_and_pool, max_pool
from unet_fast.reference.mirror_tiles import mirror_tiles
from unet_fast.reference.nearest_two_distances import nearest_two_distances
from unet_fast.reference.stitch_tiles import stitch_tiles
from unet_fast.reference.target_classes import target_classes
from unet_fast.reference.up_conv import up_conv
from unet_fast.reference.warping_error import is_simple, warping_error
from unet_fast.reference.weight_map import weight_map
from unet_fast.reference.weighted_cross_entropy import weighted_cross_entropy

__all__ = [
    "conv_relu",
    "conv_relu_pool",
    "crop_and_pool",
    "elastic_warp",
    "head",
    "is_simple",
    "max_pool",
    "mirror_tiles",
    "nearest_two_distances",
    "stitch_tiles",
    "target_classes",
    "up_conv",
    "warping_error",
    "weight_map",
    "weighted_cross_entropy",
]
