"""target_classes against the pure-PyTorch path."""

import pytest

from benchmarks.agreement import EQUAL
from benchmarks.conftest import OURS
from benchmarks.instances import cells
from unet_fast import ops, reference


@pytest.mark.parametrize("gap", ["scan", "full8"])
def test_target_classes(compare, device, gap):
    labels = cells(400, 512).to(device)
    compare(
        {
            OURS: lambda: ops.target_classes(labels, gap),
            "PyTorch": lambda: reference.target_classes(labels, gap),
        },
        group="target_classes",
        agreement=EQUAL,
        gbyte=labels.numel() * (4 + 1) / 1e9,
    )
