"""The operators: `torch.ops.unet_fast.*` behind documented functions, on CPU and CUDA."""

from unet_fast.ops.mirror_tiles import mirror_tiles
from unet_fast.ops.nearest_two_distances import nearest_two_distances
from unet_fast.ops.target_classes import target_classes
from unet_fast.ops.weight_map import weight_map
from unet_fast.ops.weighted_cross_entropy import weighted_cross_entropy

__all__ = ["mirror_tiles", "nearest_two_distances", "target_classes", "weight_map", "weighted_cross_entropy"]
