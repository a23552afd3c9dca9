"""Transposed 2x2 convolution with stride 2: the way up in the network (figure 1 of the paper)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unet_fast.ops._native import _C, allows_tf32, empty, register, scratch, stream


def up_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Double the image's size: every pixel becomes 2x2 pixels, each with a weight matrix of its own.

    Differentiable once with respect to x, weight and bias. Sums are float32 for all dtypes, and in an order that does
    not depend on the number of threads. On CUDA from compute capability 8.0 on, with C and O multiples of 8, bfloat16
    and float16 run on tensor cores; so does float32 where torch lets products round it to TF32
    (`torch.set_float32_matmul_precision("high")`).

    Args:
        x: [N, C, H, W], float32, bfloat16 or, on CUDA, float16, any strides; channels_last is fastest (no copy).
        weight: [C, O, 2, 2] as in torch.nn.ConvTranspose2d, dtype of x.
        bias: [O], dtype of x.

    Returns:
        [N, O, 2H, 2W], dtype of x, in channels_last memory.

    Raises:
        ValueError: an argument has the wrong shape or device.
        TypeError: an argument has the wrong dtype.
    """
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or bias.requires_grad):
        return _UpConv.apply(x, weight, bias)  # type: ignore[no-any-return,no-untyped-call]
    return torch.ops.unet_fast.up_conv(x, weight, bias)  # type: ignore[no-any-return]


class _UpConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.ops.unet_fast.up_conv(x, weight, bias)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs = list(ctx.needs_input_grad)
        grads = torch.ops.unet_fast.up_conv_backward(grad, x, weight, needs)
        return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _empty(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if x.dim() != 4 or weight.dim() != 4:
        shapes = f"{list(x.shape)} and {list(weight.shape)}"
        raise ValueError(f"up_conv: x, weight: wanted shapes [N, C, H, W] and [C, O, 2, 2], got {shapes}")
    size = (x.shape[0], weight.shape[1], 2 * x.shape[2], 2 * x.shape[3])
    return empty(x, size, torch.channels_last)


def _up_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y = _empty(x, weight, bias)
    x = x.contiguous(memory_format=torch.channels_last)
    _C.up_conv(x, weight.contiguous(), bias.contiguous(), allows_tf32(x), y, scratch(x), stream(x))
    return y


register("up_conv(Tensor x, Tensor weight, Tensor bias) -> Tensor", _up_conv, _empty)


def _empty_backward(grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    needs_weight = needs[1] or needs[2]  # the two are computed together
    return (
        empty(x, x.shape, torch.channels_last) if needs[0] else x.new_empty(0),
        empty(weight, weight.shape, torch.contiguous_format) if needs_weight else x.new_empty(0),
        weight.new_empty(weight.shape[1]) if needs_weight else x.new_empty(0),
    )


def _up_conv_backward(grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, grad_weight, grad_bias = _empty_backward(grad, x, weight, needs)
    grad = grad.contiguous(memory_format=torch.channels_last)
    if needs[0]:
        _C.up_conv_data_grad(grad, weight.contiguous(), allows_tf32(x), grad_x, scratch(x), stream(x))
    if needs[1] or needs[2]:
        x = x.contiguous(memory_format=torch.channels_last)
        _C.up_conv_weight_grad(grad, x, allows_tf32(x), grad_weight, grad_bias, scratch(x), stream(x))
    return grad_x, grad_weight, grad_bias


# What is not needed comes back empty.
register(
    "up_conv_backward(Tensor grad, Tensor x, Tensor weight, bool[3] needs) -> (Tensor, Tensor, Tensor)",
    _up_conv_backward,
    _empty_backward,
)
