"""Valid 3x3 convolution, bias and ReLU: the step of which the network is made (figure 1 of the paper)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unet_fast.ops._native import _C, register, scratch, stream


def conv_relu(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = True, algorithm: str = "auto") -> Tensor:
    """Convolve with a 3x3 kernel without padding, add the bias and take the positive part.

    Differentiable once with respect to x, weight and bias. Sums are float32 for both dtypes, and in an order that does
    not depend on the number of threads. On the CPU, wide float32 layers run by Winograd's algorithm, whose relative L2
    error against exact sums is at most 3e-6 for the result and the gradient of x and 1.2e-5 for that of the weight.

    Args:
        x: [N, C, H, W] with H, W >= 3, float32 or bfloat16, any strides; channels_last is fastest (no copy).
        weight: [O, C, 3, 3], dtype of x, any strides.
        bias: [O], dtype of x.
        relu: whether the positive part is taken; default True, as in the paper.
        algorithm: "auto" (default) chooses by shape; "direct" takes the sums as they are written; "winograd" saves
            three quarters of the multiplications and is for float32 on the CPU, where it is chosen from 16 channels on.
            It computes tiles of 4 x 4 pixels: an input that is not finite spoils the whole tiles that read it. Holds
            for the gradients, too.

    Returns:
        [N, O, H - 2, W - 2], dtype of x, in channels_last memory.

    Raises:
        ValueError: an argument has the wrong shape or device, or the algorithm is unknown or not for x.
        TypeError: an argument has the wrong dtype.
    """
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or bias.requires_grad):
        return _ConvRelu.apply(x, weight, bias, relu, algorithm)  # type: ignore[no-any-return,no-untyped-call]
    return torch.ops.unet_fast.conv_relu(x, weight, bias, relu, algorithm)  # type: ignore[no-any-return]


class _ConvRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool, algorithm: str) -> Tensor:
        y: Tensor = torch.ops.unet_fast.conv_relu(x, weight, bias, relu, algorithm)
        ctx.algorithm = algorithm
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        needs = list(ctx.needs_input_grad[:3])
        grads = torch.ops.unet_fast.conv_relu_backward(grad, y, x, weight, needs, ctx.algorithm)
        return *(grad if need else None for grad, need in zip(grads, needs, strict=True)), None, None


def _innermost(weight: Tensor, dim: int) -> Tensor:
    """Lay the weight out as [3, 3, .., ..] with `dim` innermost on CUDA; the CPU kernels pack it themselves."""
    if not weight.is_cuda:
        return weight
    return weight.movedim((2, 3, dim), (0, 1, 3)).contiguous().movedim((0, 1, 3), (2, 3, dim))


def _empty(x: Tensor, weight: Tensor, bias: Tensor, relu: bool, algorithm: str = "auto") -> Tensor:
    if x.dim() != 4 or x.shape[2] < 3 or x.shape[3] < 3:
        raise ValueError(f"conv_relu: x: wanted shape [N, C, H, W] with H, W >= 3, got {list(x.shape)}")
    size = (x.shape[0], weight.shape[0], x.shape[2] - 2, x.shape[3] - 2)
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _conv_relu(x: Tensor, weight: Tensor, bias: Tensor, relu: bool, algorithm: str = "auto") -> Tensor:
    y = _empty(x, weight, bias, relu, algorithm)
    x = x.contiguous(memory_format=torch.channels_last)
    _C.conv_relu(x, _innermost(weight, 0), bias.contiguous(), relu, algorithm, y, scratch(x), stream(x))
    return y


register(
    "conv_relu(Tensor x, Tensor weight, Tensor bias, bool relu, str algorithm='auto') -> Tensor", _conv_relu, _empty
)


def _empty_backward(
    grad: Tensor, y: Tensor | None, x: Tensor, weight: Tensor, needs: list[bool], algorithm: str = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    needs_weight = needs[1] or needs[2]  # the two are computed together
    return (
        torch.empty_like(x, memory_format=torch.channels_last) if needs[0] else x.new_empty(0),
        torch.empty_like(weight, memory_format=torch.contiguous_format) if needs_weight else x.new_empty(0),
        weight.new_empty(weight.shape[0]) if needs_weight else x.new_empty(0),
    )


def _conv_relu_backward(
    grad: Tensor, y: Tensor | None, x: Tensor, weight: Tensor, needs: list[bool], algorithm: str = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, grad_weight, grad_bias = _empty_backward(grad, y, x, weight, needs, algorithm)
    grad = grad.contiguous(memory_format=torch.channels_last)
    y = y if y is None else y.contiguous(memory_format=torch.channels_last)
    if needs[0]:
        _C.conv_relu_data_grad(grad, y, _innermost(weight, 1), algorithm, grad_x, scratch(x), stream(x))
    if needs[1] or needs[2]:
        x = x.contiguous(memory_format=torch.channels_last)
        _C.conv_relu_weight_grad(grad, y, x, algorithm, grad_weight, grad_bias, scratch(x), stream(x))
    return grad_x, grad_weight, grad_bias


# y is the result where it had a ReLU, else None. What is not needed comes back empty.
register(
    "conv_relu_backward(Tensor grad, Tensor? y, Tensor x, Tensor weight, bool[3] needs, str algorithm='auto')"
    " -> (Tensor, Tensor, Tensor)",
    _conv_relu_backward,
    _empty_backward,
)
