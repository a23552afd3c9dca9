"""1x1 convolution to the classes, and their softmax: the end of the network (figure 1 of the paper)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unet_fast.ops._native import _C, empty, register, scratch, stream


def head(x: Tensor, weight: Tensor, bias: Tensor, softmax: bool = False) -> Tensor:
    """Map the channels of every pixel to one score per class, or to the classes' probabilities.

    Scores are differentiable once with respect to x, weight and bias. Sums are float32 for all dtypes, and in an order
    that does not depend on the number of threads. The bits of a probability depend on nothing but the scores of its
    pixel, which are not rounded to the dtype of x before.

    Args:
        x: [N, C, H, W], float32, bfloat16 or, on CUDA, float16, any strides; channels_last is fastest (no copy).
        weight: [K, C, 1, 1], dtype of x.
        bias: [K], dtype of x.
        softmax: whether to return the softmax over the classes, which has no gradient. Default False: scores.

    Returns:
        [N, K, H, W] in channels_last memory: scores in the dtype of x, or probabilities in float32.

    Raises:
        ValueError: an argument has the wrong shape or device, or a gradient of probabilities is wanted.
        TypeError: an argument has the wrong dtype.
    """
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or bias.requires_grad):
        if softmax:
            raise ValueError("head: softmax: wanted False where gradients are recorded, got True")
        return _Head.apply(x, weight, bias)  # type: ignore[no-any-return,no-untyped-call]
    return torch.ops.unet_fast.head(x, weight, bias, softmax)  # type: ignore[no-any-return]


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.ops.unet_fast.head(x, weight, bias, False)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs = list(ctx.needs_input_grad)
        grads = torch.ops.unet_fast.head_backward(grad, x, weight, needs)
        return tuple(grad if need else None for grad, need in zip(grads, needs, strict=True))


def _empty(x: Tensor, weight: Tensor, bias: Tensor, softmax: bool) -> Tensor:
    if x.dim() != 4 or weight.dim() != 4:
        shapes = f"{list(x.shape)} and {list(weight.shape)}"
        raise ValueError(f"head: x, weight: wanted shapes [N, C, H, W] and [K, C, 1, 1], got {shapes}")
    size = (x.shape[0], weight.shape[0], x.shape[2], x.shape[3])
    return empty(x, size, torch.channels_last, torch.float32 if softmax else x.dtype)


def _head(x: Tensor, weight: Tensor, bias: Tensor, softmax: bool) -> Tensor:
    y = _empty(x, weight, bias, softmax)
    x = x.contiguous(memory_format=torch.channels_last)
    _C.head(x, weight.contiguous(), bias.contiguous(), softmax, y, scratch(x), stream(x))
    return y


register("head(Tensor x, Tensor weight, Tensor bias, bool softmax) -> Tensor", _head, _empty)


def _empty_backward(grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    needs_weight = needs[1] or needs[2]  # the two are computed together
    return (
        empty(x, x.shape, torch.channels_last) if needs[0] else x.new_empty(0),
        empty(weight, weight.shape, torch.contiguous_format) if needs_weight else x.new_empty(0),
        weight.new_empty(weight.shape[0]) if needs_weight else x.new_empty(0),
    )


def _head_backward(grad: Tensor, x: Tensor, weight: Tensor, needs: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, grad_weight, grad_bias = _empty_backward(grad, x, weight, needs)
    grad, x = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (grad, x))
    wanted_x = grad_x if needs[0] else None
    wanted_weight = (grad_weight, grad_bias) if needs[1] or needs[2] else None
    _C.head_backward(grad, x, weight.contiguous(), wanted_x, wanted_weight, scratch(x), stream(x))
    return grad_x, grad_weight, grad_bias


# What is not needed comes back empty.
register(
    "head_backward(Tensor grad, Tensor x, Tensor weight, bool[3] needs) -> (Tensor, Tensor, Tensor)",
    _head_backward,
    _empty_backward,
)
