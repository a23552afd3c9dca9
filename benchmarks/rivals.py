"""One operator with weights and its rivals, PyTorch's in both memory layouts, forward or backward."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.networks import CHANNELS_LAST, NCHW, in_layout
from tests.norms import relative_l2

Call = Callable[[], tuple[Tensor, ...]]
DIRECTIONS = ["forward", "backward"]


def verify(direction: str, *, relu: bool) -> Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], None]:
    """Return the check of two results: to rounding, except for gradients that pass a ReLU.

    Where a sum is 0 but for rounding, two ReLUs may differ in what they let pass.
    """
    bound = 1e-5 if direction == "forward" else 1e-2 if relu else 1e-4

    def check(ours: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> None:
        for a, b in zip(ours, other, strict=True):
            assert relative_l2(a, b) < bound

    return check


def call(function: Callable[..., Tensor], tensors: tuple[Tensor, ...], grad: Tensor | None) -> Call:
    """Return a call of function(*tensors), or of its gradients where `grad`, that of the result, is given.

    An image of one channel is the network's input, whose gradient nobody wants.
    """

    @torch.inference_mode()
    def forward() -> tuple[Tensor, ...]:
        return (function(*tensors),)

    if grad is None:
        return forward
    leaves = tuple(tensor.detach().requires_grad_() for tensor in tensors)
    leaves[0].requires_grad_(tensors[0].shape[1] > 1)
    y, wanted = function(*leaves), [leaf for leaf in leaves if leaf.requires_grad]
    return lambda: torch.autograd.grad(y, wanted, grad, retain_graph=True)


def layouts(
    ours: dict[str, Callable[..., Tensor]],
    peer: Callable[..., Tensor],
    tensors: tuple[Tensor, Tensor, Tensor],
    direction: str,
) -> dict[str, Call]:
    """Return the rivals, each with its tensors as its network would hold them.

    Args:
        ours: name -> this package's operator.
        peer: the same in plain PyTorch.
        tensors: image, weight and bias.
        direction: "forward" or "backward".
    """
    x, weight, bias = tensors
    shape = peer(*(tensor.to("meta") for tensor in tensors)).shape
    grad = None if direction == "forward" else torch.randn(shape)
    last, grad_last = in_layout(x, CHANNELS_LAST), grad if grad is None else in_layout(grad, CHANNELS_LAST)
    return {
        **{name: call(function, (last, weight, bias), grad_last) for name, function in ours.items()},
        "eager NCHW": call(peer, (in_layout(x, NCHW), weight, bias), grad),
        "eager channels_last": call(peer, (last, in_layout(weight, CHANNELS_LAST), bias), grad_last),
    }


def gflop(multiplications: int, channels: int, direction: str) -> float:
    """Return 10^9 floating-point operations of an operator with C = `channels`.

    Backward there are two products of the forward's size, one where the gradient of the image is not wanted.
    """
    products = 1 if direction == "forward" or channels == 1 else 2
    return products * 2 * multiplications / 1e9
