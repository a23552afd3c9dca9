"""The operators: `torch.ops.unet_fast.*` behind documented functions, on CPU and CUDA."""

from unet_fast.ops._native import BuildInfo, build_info
from unet_fast.ops.mirror_tiles import mirror_tiles

__all__ = ["BuildInfo", "build_info", "mirror_tiles"]
