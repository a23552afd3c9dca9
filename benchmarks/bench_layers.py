"""The layers of the paper's network at its own sizes (572 -> 388), from top to bottom and up again, one by one."""

import pytest
import torch

from benchmarks import rivals
from benchmarks.conftest import OURS
from unet_fast import ops, reference

# C, O, side of the input in pixels
CONVOLUTIONS = [
    *[(1, 64, 572), (64, 64, 570), (64, 128, 284), (128, 128, 282), (128, 256, 140), (256, 256, 138)],
    *[(256, 512, 68), (512, 512, 66), (512, 1024, 32), (1024, 1024, 30), (1024, 512, 56), (512, 512, 54)],
    *[(512, 256, 104), (256, 256, 102), (256, 128, 200), (128, 128, 198), (128, 64, 392), (64, 64, 390)],
]
UP_CONVOLUTIONS = [(1024, 512, 28), (512, 256, 52), (256, 128, 100), (128, 64, 196)]
QUICK_SIDE = 18  # pixels: tiles of 4 x 4 and a remainder


@pytest.mark.parametrize("direction", rivals.DIRECTIONS)
@pytest.mark.parametrize("shape", CONVOLUTIONS, ids=str)
def test_layer_conv_relu(compare, device, quick, dear, shape, direction):
    channels, out_channels, side = shape
    side = min(side, QUICK_SIDE) if quick else side
    x = torch.randn(1, channels, side, side)
    x = x if channels == 1 else x.relu()  # as the layer before leaves it
    weight = torch.randn(out_channels, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
    bias = torch.randn(out_channels) / 10
    compare(
        **rivals.forms({OURS: ops.conv_relu}, reference.conv_relu, (x, weight, bias), direction, relu=True, dear=dear),
        group=f"layer conv_relu {direction}",
        gflop=rivals.gflop(9 * channels * out_channels * (side - 2) ** 2, channels, direction),
    )


@pytest.mark.parametrize("direction", rivals.DIRECTIONS)
@pytest.mark.parametrize("shape", UP_CONVOLUTIONS, ids=str)
def test_layer_up_conv(compare, device, quick, dear, shape, direction):
    channels, out_channels, side = shape
    side = min(side, QUICK_SIDE) if quick else side
    x = torch.randn(1, channels, side, side).relu()
    weight = torch.randn(channels, out_channels, 2, 2) * (2 / channels) ** 0.5
    bias = torch.randn(out_channels) / 10
    compare(
        **rivals.forms({OURS: ops.up_conv}, reference.up_conv, (x, weight, bias), direction, relu=False, dear=dear),
        group=f"layer up_conv {direction}",
        gflop=rivals.gflop(4 * channels * out_channels * side**2, channels, direction),
    )
