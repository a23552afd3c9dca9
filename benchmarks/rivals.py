"""One operator with weights and its rivals: PyTorch's in every form that it offers, forward or backward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._functorch import config as functorch

from benchmarks.agreement import near
from benchmarks.networks import CHANNELS_LAST, NCHW, in_layout
from unet_fast.ops import build_info

Call = Callable[[], tuple[Tensor, ...]]
DIRECTIONS = ["forward", "backward"]
COMPILED_LAST, AUTOCAST = "torch.compile channels_last", "autocast bfloat16 channels_last"


@dataclass(frozen=True)
class Dear:
    """Which of the forms take part that would cost a run minutes.

    Attributes:
        compiled: torch.compile, but for the network at 572 pixels, thin steps, pool, sample and loss.
        bfloat16: autocast to bfloat16 of convolutions and of the large network.
    """

    compiled: bool
    bfloat16: bool

    @property
    def left_out(self) -> str:
        """What does not take part, and why; empty where all does."""
        reasons = {
            "torch.compile of convolutions, tiles and the warp, which gain little": self.compiled,
            "torch.compile of the small tile and of large training steps, which takes minutes": self.compiled,
            "bfloat16 but for thin networks, since without a matrix unit it takes longer than float32": self.bfloat16,
        }
        return "; ".join(f"{what}: only with --full" for what, wanted in reasons.items() if not wanted)


def multiplies_bfloat16() -> bool:
    """Return whether this machine has a matrix unit for bfloat16."""
    return torch.cuda.is_available() or "amx" in build_info().instruction_sets


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
    with functorch.patch(donated_buffer=False):  # which would allow a single backward pass
        y, wanted = function(*leaves), [leaf for leaf in leaves if leaf.requires_grad]
    grad = grad.to(y.dtype)
    return lambda: torch.autograd.grad(y, wanted, grad, retain_graph=True)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function for the sizes that it will be called with, forgetting all that was compiled before."""
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


def autocast(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the function in bfloat16, as torch.autocast computes it."""

    def lower(x: Tensor, *others: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return function(x, *others)

    return lower


def forms(
    ours: dict[str, Callable[..., Tensor]],
    peer: Callable[..., Tensor],
    tensors: tuple[Tensor, Tensor, Tensor],
    direction: str,
    *,
    relu: bool,
    dear: Dear,
) -> dict[str, Any]:
    """Return what `compare` takes: the rivals, each with its tensors as its network would hold them, and their checks.

    To rounding, except for gradients that pass a ReLU: where a sum is 0 but for rounding, two ReLUs may differ in what
    they let pass. bfloat16 is another precision, so it is shown and counts for no ratio.

    Args:
        ours: name -> this package's operator.
        peer: the same in plain PyTorch.
        tensors: image, weight and bias.
        direction: "forward" or "backward".
        relu: whether the operator ends with one.
        dear: which forms take part.
    """
    x, weight, bias = tensors
    shape = peer(*(tensor.to("meta") for tensor in tensors)).shape
    grad = None if direction == "forward" else torch.randn(shape)
    last, grad_last = in_layout(x, CHANNELS_LAST), grad if grad is None else in_layout(grad, CHANNELS_LAST)
    theirs = (last, in_layout(weight, CHANNELS_LAST), bias)
    calls = {
        **{name: call(function, (last, weight, bias), grad_last) for name, function in ours.items()},
        "eager NCHW": call(peer, (in_layout(x, NCHW), weight, bias), grad),
        "eager channels_last": call(peer, theirs, grad_last),
    }
    if dear.bfloat16:
        calls[AUTOCAST] = call(autocast(peer), theirs, grad_last)
    if dear.compiled:
        calls[COMPILED_LAST] = call(compiled(peer), theirs, grad_last)
    return {
        "rivals": calls,
        "agreement": near(1e-5 if direction == "forward" else 1e-2 if relu else 1e-4),
        "exceptions": {AUTOCAST: near(0.02 if direction == "forward" else 0.2 if relu else 0.02)},
        "references": (AUTOCAST, *ours),
    }


def gflop(multiplications: int, channels: int, direction: str) -> float:
    """Return 10^9 floating-point operations of an operator with C = `channels`.

    Backward there are two products of the forward's size, one where the gradient of the image is not wanted.
    """
    products = 1 if direction == "forward" or channels == 1 else 2
    return products * 2 * multiplications / 1e9
