"""head against PyTorch's 1x1 convolution, forward and backward, and with the softmax behind it."""

from functools import partial

import pytest
import torch

from benchmarks import rivals
from benchmarks.conftest import OURS
from unet_fast import ops, reference


@pytest.mark.parametrize("direction", rivals.DIRECTIONS)
@pytest.mark.parametrize("channels", [64, 8])
def test_head(compare, device, dear, channels, direction):
    side, classes = 388, 2
    x, weight = torch.randn(1, channels, side, side), torch.randn(classes, channels, 1, 1)
    tensors = (x, weight, torch.randn(classes))
    read_and_written = 4 * (channels + classes) * side**2 / 1e9
    compare(
        **rivals.forms({OURS: ops.head}, reference.head, tensors, direction, relu=False, dear=dear),
        group=f"head {direction}",
        gbyte=read_and_written * (1 if direction == "forward" else 2),
    )


@pytest.mark.parametrize("classes", [2, 5])
def test_head_with_softmax(compare, device, dear, classes):
    side, channels = 388, 64
    tensors = (torch.randn(1, channels, side, side), torch.randn(classes, channels, 1, 1) / 8, torch.randn(classes))
    ours, peer = (partial(function, softmax=True) for function in (ops.head, reference.head))
    compare(
        **rivals.forms({OURS: ours}, peer, tensors, "forward", relu=False, dear=dear),
        group="head with softmax",
        gbyte=4 * (channels + classes) * side**2 / 1e9,
    )
