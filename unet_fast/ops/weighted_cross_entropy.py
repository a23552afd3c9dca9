"""Weigh the cross entropy of a pixel-wise softmax (equations 1 and 2 of the paper)."""

from typing import Any

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register, stream


def weighted_cross_entropy(
    logits: Tensor, classes: Tensor, weights: Tensor | None = None, normalization: str = "weight"
) -> Tensor:
    """Compute sum_x w(x) (logsumexp_k z_k(x) - z_y(x)) / Z over the pixels x whose class y is not 255.

    The sums are taken in float64 in a fixed order: the same input gives the same bits. One pass forward, one backward.

    Args:
        logits: [N, K, H, W] z, float32, bfloat16 or float16, any strides, K from 1 to 255.
        classes: [N, H, W] y, uint8 or int64: 0 to K-1, or 255 for pixels that do not count.
        weights: [N, H, W] float32 w, such as from `weight_map`; None (default) is 1. No gradient flows to it.
        normalization: Z: "weight" (default), the sum of w over the pixels that count; "pixels", the number N H W of all
            pixels; or "sum", 1, as in the paper. Where no pixel counts or all weigh 0 the loss is 0.

    Returns:
        The loss, a float32 scalar with a gradient to `logits` (of first order only).

    Raises:
        ValueError: an argument has the wrong shape or device; on the CPU also where a class is out of range. On CUDA,
            where looking would wait for the device, the loss is then NaN.
        TypeError: an argument has the wrong dtype.
    """
    if logits.dtype == torch.float16:
        logits = logits.float()
    if torch.is_grad_enabled() and logits.requires_grad:
        return _WeightedCrossEntropy.apply(logits, classes, weights, normalization)  # type: ignore[no-any-return, no-untyped-call]
    loss: Tensor = torch.ops.unet_fast.weighted_cross_entropy(logits, classes, weights, normalization)[0]
    return loss


class _WeightedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, classes: Tensor, weights: Tensor | None, normalization: str) -> Tensor:
        loss, scale = torch.ops.unet_fast.weighted_cross_entropy(logits, classes, weights, normalization)
        ctx.save_for_backward(scale, logits, classes, weights)
        return loss  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return torch.ops.unet_fast.weighted_cross_entropy_backward(grad, *ctx.saved_tensors), None, None, None


def _empty(logits: Tensor, classes: Tensor, weights: Tensor | None, normalization: str) -> tuple[Tensor, Tensor]:
    return logits.new_empty((), dtype=torch.float32), logits.new_empty((), dtype=torch.float64)


def _weighted_cross_entropy(
    logits: Tensor, classes: Tensor, weights: Tensor | None, normalization: str
) -> tuple[Tensor, Tensor]:
    loss, scale = _empty(logits, classes, weights, normalization)
    workspace = logits.new_empty(_C.weighted_cross_entropy_workspace(classes.numel()), dtype=torch.uint8)
    weights = None if weights is None else weights.contiguous()
    _C.weighted_cross_entropy(
        logits, classes.contiguous(), weights, normalization, loss, scale, workspace, stream(logits)
    )
    return loss, scale


def _empty_backward(grad: Tensor, scale: Tensor, logits: Tensor, classes: Tensor, weights: Tensor | None) -> Tensor:
    for memory_format in (torch.contiguous_format, torch.channels_last):
        if logits.is_contiguous(memory_format=memory_format):
            return empty(logits, logits.shape, memory_format)
    return torch.empty_like(logits)


def _weighted_cross_entropy_backward(
    grad: Tensor, scale: Tensor, logits: Tensor, classes: Tensor, weights: Tensor | None
) -> Tensor:
    grad_logits = _empty_backward(grad, scale, logits, classes, weights)
    weights = None if weights is None else weights.contiguous()
    _C.weighted_cross_entropy_backward(grad, scale, logits, classes.contiguous(), weights, grad_logits, stream(logits))
    return grad_logits


# scale is 1 / Z, for the gradient.
register(
    "weighted_cross_entropy(Tensor logits, Tensor classes, Tensor? weights, str normalization) "
    "-> (Tensor loss, Tensor scale)",
    _weighted_cross_entropy,
    _empty,
)
register(
    "weighted_cross_entropy_backward(Tensor grad, Tensor scale, Tensor logits, Tensor classes, Tensor? weights) "
    "-> Tensor",
    _weighted_cross_entropy_backward,
    _empty_backward,
)
