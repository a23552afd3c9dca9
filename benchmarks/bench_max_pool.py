"""max_pool against PyTorch's, forward and backward."""

import pytest
import torch

from benchmarks.conftest import OURS
from unet_fast import ops, reference


def verify(ours, other):
    torch.testing.assert_close(ours, other, rtol=0, atol=0)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("shape", [(64, 284), (8, 568)], ids=str)
def test_max_pool(compare, device, shape, direction):
    channels, side = shape
    x, grad = torch.randn(1, channels, side, side), torch.randn(1, channels, side // 2, side // 2)

    def call(function, memory_format):
        leaf = x.contiguous(memory_format=memory_format).requires_grad_()
        if direction == "forward":
            return lambda: function(leaf.detach())
        y, grad_y = function(leaf), grad.contiguous(memory_format=memory_format)
        return lambda: torch.autograd.grad(y, leaf, grad_y, retain_graph=True)[0]

    compare(
        {
            OURS: call(ops.max_pool, torch.channels_last),
            "eager NCHW": call(reference.max_pool, torch.contiguous_format),
            "eager channels_last": call(reference.max_pool, torch.channels_last),
        },
        group=f"max_pool {direction}",
        verify=verify,
        gbyte=4 * channels * side**2 * (1.25 if direction == "forward" else 2.25) / 1e9,
        rounds=5,
    )
