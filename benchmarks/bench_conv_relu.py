"""conv_relu against PyTorch's convolution: layers of thin networks at full side.

Where Winograd's algorithm is chosen, "direct" is what it gains on. The paper's layers are in bench_layers.
"""

import functools

import pytest
import torch

from benchmarks import rivals
from benchmarks.conftest import OURS
from unet_fast import ops, reference

SHAPES = [(1, 8, 572), (8, 8, 570), (16, 16, 570), (32, 32, 282)]  # C, O, side of the input in pixels


@pytest.mark.parametrize("direction", rivals.DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_conv_relu(compare, device, dear, shape, direction):
    channels, out_channels, side = shape
    x = torch.randn(1, channels, side, side).relu()
    weight = torch.randn(out_channels, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
    bias = torch.randn(out_channels) / 10
    ours = {OURS: ops.conv_relu}
    if min(channels, out_channels) >= 16:
        ours["direct"] = functools.partial(ops.conv_relu, algorithm="direct")
    compare(
        **rivals.forms(ours, reference.conv_relu, (x, weight, bias), direction, relu=True, dear=dear),
        group=f"conv_relu {direction}",
        gflop=rivals.gflop(9 * channels * out_channels * (side - 2) ** 2, channels, direction),
    )
