"""The algorithms of conv_relu against each other and against PyTorch, on layers of the paper's network at about half
the tile's side.
"""

import pytest
import torch

from benchmarks.conftest import OURS
from tests.norms import relative_l2
from unet_fast import ops, reference

# C, O, side of the input in pixels
LAYERS = [(64, 64, 284), (128, 128, 138), (256, 256, 70), (512, 512, 34)]


@pytest.fixture
def cpu(device):
    if device.type != "cpu":
        pytest.skip("the algorithms are the CPU's")


def layer(channels, out_channels, side):
    x = torch.randn(1, channels, side, side).relu()
    weight = torch.randn(out_channels, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
    return x, weight, torch.randn(out_channels) / 10


def channels_last(x, weight, bias):
    return (*tuple(t.contiguous(memory_format=torch.channels_last) for t in (x, weight)), bias)


def gflop(channels, out_channels, side):
    return 2 * 9 * channels * out_channels * (side - 2) ** 2 / 1e9


def verify(ours, other):
    for a, b in zip(ours, other, strict=True):
        assert relative_l2(a, b) < 1e-5


def verify_gradients(ours, other):
    """Of a few values near 0 in a million, the sign depends on the rounding, and with it whether a gradient passes."""
    for a, b in zip(ours, other, strict=True):
        assert relative_l2(a, b) < 1e-2


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_forward(compare, shape):
    x, weight, bias = layer(*shape)
    last, weight_last, _ = channels_last(x, weight, bias)
    with torch.inference_mode():
        compare(
            {
                OURS: lambda: (ops.conv_relu(last, weight, bias),),
                "direct": lambda: (ops.conv_relu(last, weight, bias, algorithm="direct"),),
                "eager NCHW": lambda: (reference.conv_relu(x, weight, bias),),
                "eager channels_last": lambda: (reference.conv_relu(last, weight_last, bias),),
            },
            group="conv_relu algorithms",
            verify=verify,
            gflop=gflop(*shape),
            rounds=5,
        )


@pytest.mark.usefixtures("cpu")
def test_backward(compare):
    """All gradients of one layer."""
    shape = (128, 128, 138)
    args = layer(*shape)
    grad = torch.randn(1, shape[1], shape[2] - 2, shape[2] - 2)

    def backward(function, args, memory_format=torch.channels_last, **keywords):
        leaves = [tensor.clone().requires_grad_() for tensor in args]
        y, grad_y = function(*leaves, **keywords), grad.contiguous(memory_format=memory_format)
        return lambda: torch.autograd.grad(y, leaves, grad_y, retain_graph=True)

    x, weight, bias = channels_last(*args)
    compare(
        {
            OURS: backward(ops.conv_relu, (x, args[1], bias)),
            "direct": backward(ops.conv_relu, (x, args[1], bias), algorithm="direct"),
            "eager NCHW": backward(reference.conv_relu, args, torch.contiguous_format),
            "eager channels_last": backward(reference.conv_relu, (x, weight, bias)),
        },
        group="conv_relu algorithms, backward",
        verify=verify_gradients,
        gflop=2 * gflop(*shape),
        rounds=5,
    )
