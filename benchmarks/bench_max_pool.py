"""max_pool against PyTorch's, forward and backward."""

import pytest
import torch

from benchmarks import rivals
from benchmarks.agreement import EQUAL
from benchmarks.conftest import OURS
from benchmarks.networks import CHANNELS_LAST, NCHW
from unet_fast import ops, reference


@pytest.mark.parametrize("direction", rivals.DIRECTIONS)
@pytest.mark.parametrize("shape", [(64, 284), (8, 568)], ids=str)
def test_max_pool(compare, device, quick, shape, direction):
    channels, side = shape
    x, grad = torch.randn(1, channels, side, side), torch.randn(1, channels, side // 2, side // 2)

    def call(function, memory_format):
        leaf, grad_y = x.contiguous(memory_format=memory_format), grad.contiguous(memory_format=memory_format)
        return rivals.call(function, (leaf,), None if direction == "forward" else grad_y)

    calls = {
        OURS: call(ops.max_pool, CHANNELS_LAST),
        "eager NCHW": call(reference.max_pool, NCHW),
        "eager channels_last": call(reference.max_pool, CHANNELS_LAST),
    }
    if not quick:
        calls[rivals.COMPILED_LAST] = call(rivals.compiled(reference.max_pool), CHANNELS_LAST)
    compare(
        calls,
        group=f"max_pool {direction}",
        agreement=EQUAL,
        gbyte=4 * channels * side**2 * (1.25 if direction == "forward" else 2.25) / 1e9,
    )
