"""conv_relu in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def conv_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    skip: Tensor | None = None,
    relu: bool = True,
    algorithm: str = "auto",
    packed: Tensor | None = None,
) -> Tensor:
    """Convolve with a 3x3 kernel, add the bias and take the positive part; see `unet_fast.ops.conv_relu`.

    PyTorch chooses its algorithm itself.
    """
    y = F.conv2d(x if skip is None else torch.cat([x, skip], dim=1), weight, bias)
    return F.relu(y) if relu else y


def conv_relu_pool(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    crop: int = 0,
    *,
    algorithm: str = "auto",
    packed: Tensor | None = None,
    first: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Convolve, and return the result cropped, and pooled; see `unet_fast.ops.conv_relu_pool`."""
    y = conv_relu(x if first is None else conv_relu(x, *first), weight, bias)
    return y[..., crop : y.shape[-2] - crop, crop : y.shape[-1] - crop], F.max_pool2d(y, 2)
