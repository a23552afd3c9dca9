"""up_conv against PyTorch's transposed convolution, forward and backward."""

import pytest
import torch

from benchmarks.conftest import OURS
from tests.norms import relative_l2
from unet_fast import ops, reference

SHAPES = [(1024, 512, 28), (256, 128, 100), (128, 64, 196), (32, 16, 196), (16, 8, 196)]  # C, O, side of the input


def verify(ours, other):
    for a, b in zip(ours, other, strict=True):
        assert relative_l2(a, b) < 1e-4


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_up_conv(compare, device, shape, direction):
    channels, out_channels, side = shape
    x, weight = torch.randn(1, channels, side, side), torch.randn(channels, out_channels, 2, 2) / channels**0.5
    bias, grad = torch.randn(out_channels), torch.randn(1, out_channels, 2 * side, 2 * side)

    def call(function, memory_format):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        leaves[0] = x.contiguous(memory_format=memory_format).requires_grad_()
        if direction == "forward":
            return lambda: (function(*(leaf.detach() for leaf in leaves)),)
        y, grad_y = function(*leaves), grad.contiguous(memory_format=memory_format)
        return lambda: torch.autograd.grad(y, leaves, grad_y, retain_graph=True)

    compare(
        {
            OURS: call(ops.up_conv, torch.channels_last),
            "eager NCHW": call(reference.up_conv, torch.contiguous_format),
            "eager channels_last": call(reference.up_conv, torch.channels_last),
        },
        group=f"up_conv {direction}",
        verify=verify,
        gflop=2 * 4 * channels * out_channels * side**2 / 1e9 * (1 if direction == "forward" else 2),
        rounds=5,
    )
