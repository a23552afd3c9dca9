"""up_conv against PyTorch's transposed convolution: layers of thin networks. The paper's layers are in bench_layers."""

import pytest
import torch

from benchmarks import rivals
from benchmarks.conftest import OURS
from unet_fast import ops, reference

SHAPES = [(32, 16, 196), (16, 8, 196)]  # C, O, side of the input in pixels


@pytest.mark.parametrize("direction", rivals.DIRECTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_up_conv(compare, device, dear, shape, direction):
    channels, out_channels, side = shape
    x, weight = torch.randn(1, channels, side, side), torch.randn(channels, out_channels, 2, 2) / channels**0.5
    tensors = (x, weight, torch.randn(out_channels))
    compare(
        **rivals.forms({OURS: ops.up_conv}, reference.up_conv, tensors, direction, relu=False, dear=dear),
        group=f"up_conv {direction}",
        gflop=rivals.gflop(4 * channels * out_channels * side**2, channels, direction),
    )
