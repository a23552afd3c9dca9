"""head against PyTorch's 1x1 convolution, forward and backward."""

import pytest
import torch

from benchmarks.conftest import OURS
from tests.norms import relative_l2
from unet_fast import ops, reference


def verify(ours, other):
    for a, b in zip(ours, other, strict=True):
        assert relative_l2(a, b) < 1e-4


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("channels", [64, 8])
def test_head(compare, device, channels, direction):
    side, classes = 388, 2
    x, weight = torch.randn(1, channels, side, side), torch.randn(classes, channels, 1, 1)
    bias, grad = torch.randn(classes), torch.randn(1, classes, side, side)

    def call(function, memory_format):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
        leaves[0] = x.contiguous(memory_format=memory_format).requires_grad_()
        if direction == "forward":
            return lambda: (function(*(leaf.detach() for leaf in leaves)),)
        y, grad_y = function(*leaves), grad.contiguous(memory_format=memory_format)
        return lambda: torch.autograd.grad(y, leaves, grad_y, retain_graph=True)

    read_and_written = 4 * (channels + classes) * side**2 / 1e9
    compare(
        {
            OURS: call(ops.head, torch.channels_last),
            "eager NCHW": call(reference.head, torch.contiguous_format),
            "eager channels_last": call(reference.head, torch.channels_last),
        },
        group=f"head {direction}",
        verify=verify,
        gbyte=read_and_written * (1 if direction == "forward" else 2),
        rounds=5,
    )
