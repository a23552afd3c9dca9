"""The operators again in plain PyTorch, with the same names and signatures: oracle, opponent and `backend="torch"`."""

from unet_fast.reference.mirror_tiles import mirror_tiles
from unet_fast.reference.nearest_two_distances import nearest_two_distances
from unet_fast.reference.target_classes import target_classes
from unet_fast.reference.weight_map import weight_map
from unet_fast.reference.weighted_cross_entropy import weighted_cross_entropy

__all__ = ["mirror_tiles", "nearest_two_distances", "target_classes", "weight_map", "weighted_cross_entropy"]
