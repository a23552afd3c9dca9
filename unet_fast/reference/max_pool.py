"""max_pool in plain PyTorch."""

import torch.nn.functional as F
from torch import Tensor


def max_pool(x: Tensor) -> Tensor:
    """Take the maximum of every 2x2 pixels; see `unet_fast.ops.max_pool`."""
    return F.max_pool2d(x, 2)


def crop_and_pool(x: Tensor, crop: int) -> tuple[Tensor, Tensor]:
    """Return an image cropped, and pooled; see `unet_fast.ops.crop_and_pool`."""
    return x[..., crop : x.shape[-2] - crop, crop : x.shape[-1] - crop], max_pool(x)
