"""The operators: `torch.ops.unet_fast.*` behind documented functions, on CPU and CUDA."""

from unet_fast.ops._native import BuildInfo, build_info
from unet_fast.ops.conv_relu import conv_relu
from unet_fast.ops.head import head
from unet_fast.ops.max_pool import max_pool
from unet_fast.ops.mirror_tiles import mirror_tiles
from unet_fast.ops.up_conv import up_conv

__all__ = ["BuildInfo", "WarpingErrors", "build_info", "conv_relu", "head", "max_pool", "mirror_tiles", "up_conv", "warping_error"]
