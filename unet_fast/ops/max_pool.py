"""2x2 maximum with stride 2: the way down in the network (figure 1 of the paper)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unet_fast.ops._native import _C, empty, register, stream


def max_pool(x: Tensor) -> Tensor:
    """Take the maximum of every 2x2 pixels.

    Differentiable once. No index is stored: the gradient goes to the first maximum in scan order (as in torch), which
    is found again by comparison.

    Args:
        x: [N, C, H, W] with even H and W, float32, bfloat16 or, on CUDA, float16, any strides; channels_last is fastest
            (no copy).

    Returns:
        [N, C, H / 2, W / 2], dtype of x, in channels_last memory.

    Raises:
        ValueError: x has the wrong shape, such as an odd height or width.
        TypeError: x has the wrong dtype.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _MaxPool.apply(x)  # type: ignore[no-any-return,no-untyped-call]
    return torch.ops.unet_fast.max_pool(x)  # type: ignore[no-any-return]


def crop_and_pool(x: Tensor, crop: int) -> tuple[Tensor, Tensor]:
    """Take both ways on from a level: across, cropped, and down, the maximum of every 2x2 pixels.

    Differentiable like `max_pool`; both gradients come together in one pass.

    Args:
        x: as for `max_pool`.
        crop: pixels along each edge that the way across leaves out, at least 0.

    Returns:
        [N, C, H - 2 crop, W - 2 crop], a window of x, and [N, C, H / 2, W / 2], channels_last.

    Raises:
        ValueError: as for `max_pool`, or the crop leaves nothing.
        TypeError: x has the wrong dtype.
    """
    if x.dim() == 4 and not 0 <= 2 * crop < min(x.shape[-2:]):
        raise ValueError(f"crop_and_pool: crop: wanted 0 to {(min(x.shape[-2:]) - 1) // 2}, got {crop}")
    if torch.is_grad_enabled() and x.requires_grad:
        return _CropAndPool.apply(x, crop)  # type: ignore[no-any-return,no-untyped-call]
    return cropped(x, crop), torch.ops.unet_fast.max_pool(x)


def cropped(x: Tensor, crop: int) -> Tensor:
    """Return the window of x [N, C, H, W] without `crop` pixels along each edge."""
    return x[..., crop : x.shape[-2] - crop, crop : x.shape[-1] - crop]


class _CropAndPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, crop: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        return cropped(x, crop), torch.ops.unet_fast.max_pool(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_skip: Tensor, grad_pooled: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.ops.unet_fast.max_pool_backward(grad_pooled, x, grad_skip), None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.ops.unet_fast.max_pool(x)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.unet_fast.max_pool_backward(grad, x)  # type: ignore[no-any-return]


def _empty(x: Tensor) -> Tensor:
    if x.dim() != 4:
        raise ValueError(f"max_pool: x: wanted shape [N, C, H, W], got {list(x.shape)}")
    size = (x.shape[0], x.shape[1], x.shape[2] // 2, x.shape[3] // 2)
    return empty(x, size, torch.channels_last)


def _max_pool(x: Tensor) -> Tensor:
    y = _empty(x)
    _C.max_pool(x.contiguous(memory_format=torch.channels_last), y, stream(x))
    return y


register("max_pool(Tensor x) -> Tensor", _max_pool, _empty)


def _empty_backward(grad: Tensor, x: Tensor, grad_skip: Tensor | None = None, rectified: bool = False) -> Tensor:
    return empty(x, x.shape, torch.channels_last)


def _max_pool_backward(grad: Tensor, x: Tensor, grad_skip: Tensor | None = None, rectified: bool = False) -> Tensor:
    grad_x = _empty_backward(grad, x, grad_skip, rectified)
    grad, x = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (grad, x))
    grad_skip = grad_skip if grad_skip is None else grad_skip.contiguous(memory_format=torch.channels_last)
    _C.max_pool_backward(grad, x, grad_skip, rectified, grad_x, stream(x))
    return grad_x


# grad_skip is what comes back to the centre of x past the pool; if rectified, x is the result of a ReLU, and the
# gradient is that of the ReLU's input.
register(
    "max_pool_backward(Tensor grad, Tensor x, Tensor? grad_skip=None, bool rectified=False) -> Tensor",
    _max_pool_backward,
    _empty_backward,
)
