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
    masks_gradient: bool = False,
    gradient_is_masked: bool = False,
) -> Tensor:
    """Convolve with a 3x3 kernel, add the bias and take the positive part; see `unet_fast.ops.conv_relu`.

    PyTorch chooses its algorithm itself, and F.relu masks the gradient in any case.
    """
    if masks_gradient:
        x = F.relu(x)  # x as it is
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
    masks_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """Convolve, and return the result cropped, and pooled; see `unet_fast.ops.conv_relu_pool`."""
    if first is not None:
        x, masks_gradient = conv_relu(x, *first, masks_gradient=masks_gradient), True
    y = conv_relu(x, weight, bias, masks_gradient=masks_gradient)
    return y[..., crop : y.shape[-2] - crop, crop : y.shape[-1] - crop], F.max_pool2d(y, 2)
