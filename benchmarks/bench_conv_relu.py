"""conv_relu against PyTorch's convolution, in the layouts that PyTorch knows: layers of the paper's network at about
half the tile's side, and of thin networks at full side. Where Winograd's algorithm is chosen, "direct" is what it
gains on.
"""

import functools

import pytest
import torch

from benchmarks.conftest import OURS
from tests.norms import relative_l2
from unet_fast import ops, reference

# C, O, side of the input in pixels
PAPER = [(1, 64, 286), (64, 64, 284), (128, 128, 140), (256, 256, 68), (512, 512, 34), (128, 64, 196)]
THIN = [(1, 8, 572), (8, 8, 570), (16, 16, 570), (32, 32, 282)]


def verify(ours, other):
    # Where y is 0 but for rounding, the two may differ in which gradients they let pass.
    for a, b in zip(ours, other, strict=True):
        assert relative_l2(a, b) < 1e-2


def algorithms(shape):
    """Return name -> function of ours."""
    functions = {OURS: ops.conv_relu}
    if min(shape[:2]) >= 16:
        functions["direct"] = functools.partial(ops.conv_relu, algorithm="direct")
    return functions


def layer(channels, out_channels, side):
    x = torch.randn(1, channels, side, side).relu()
    weight = torch.randn(out_channels, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
    return x, weight, torch.randn(out_channels) / 10


def channels_last(x, weight, bias):
    x, weight = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))
    return x, weight, bias


def gflop(channels, out_channels, side):
    return 2 * 9 * channels * out_channels * (side - 2) ** 2 / 1e9


@pytest.mark.parametrize("shape", PAPER + THIN, ids=str)
def test_conv_relu(compare, device, shape):
    args = layer(*shape)
    last = channels_last(*args)
    with torch.inference_mode():
        compare(
            {
                **{name: lambda f=f: (f(*last),) for name, f in algorithms(shape).items()},
                "eager NCHW": lambda: (reference.conv_relu(*args),),
                "eager channels_last": lambda: (reference.conv_relu(*last),),
            },
            group="conv_relu",
            verify=verify,
            gflop=gflop(*shape),
            rounds=5,
        )


@pytest.mark.parametrize("shape", PAPER + THIN, ids=str)
def test_conv_relu_backward(compare, device, shape):
    """All gradients; for one input channel that of the image is not wanted, as in training."""
    args, wanted = layer(*shape), slice(shape[0] == 1, 3)
    grad = torch.randn(1, shape[1], shape[2] - 2, shape[2] - 2)

    def backward(function, args, memory_format):
        leaves = tuple(tensor.clone().requires_grad_() for tensor in args)
        leaves[0].requires_grad_(shape[0] > 1)
        y, grad_y = function(*leaves), grad.contiguous(memory_format=memory_format)
        return lambda: torch.autograd.grad(y, leaves[wanted], grad_y, retain_graph=True)

    compare(
        {
            **{name: backward(f, channels_last(*args), torch.channels_last) for name, f in algorithms(shape).items()},
            "eager NCHW": backward(reference.conv_relu, args, torch.contiguous_format),
            "eager channels_last": backward(reference.conv_relu, channels_last(*args), torch.channels_last),
        },
        group="conv_relu_backward",
        verify=verify,
        gflop=gflop(*shape) * (1 if shape[0] == 1 else 2),
        rounds=5,
    )
