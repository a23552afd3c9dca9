"""The operators again in plain PyTorch, with the same names and signatures: oracle, opponent and `backend="torch"`."""

from unet_fast.reference.elastic_warp import elastic_warp
from unet_fast.reference.mirror_tiles import mirror_tiles
from unet_fast.reference.stitch_tiles import stitch_tiles

__all__ = ["elastic_warp", "mirror_tiles", "stitch_tiles"]
