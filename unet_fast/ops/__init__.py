"""The operators: `torch.ops.unet_fast.*` behind documented functions, on CPU and CUDA."""

from unet_fast.ops._native import BuildInfo, build_info
from unet_fast.ops.elastic_warp import Warp, elastic_warp
from unet_fast.ops.mirror_tiles import mirror_tiles
from unet_fast.ops.stitch_tiles import stitch_tiles

__all__ = ["BuildInfo", "Warp", "build_info", "elastic_warp", "mirror_tiles", "stitch_tiles"]
