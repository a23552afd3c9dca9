"""The operators: `torch.ops.unet_fast.*` behind documented functions, on CPU and CUDA."""

from unet_fast.ops._native import BuildInfo, build_info
from unet_fast.ops.mirror_tiles import mirror_tiles
from unet_fast.ops.warping_error import WarpingErrors, warping_error

__all__ = ["BuildInfo", "WarpingErrors", "build_info", "mirror_tiles", "warping_error"]
