"""stitch_tiles against the pure-PyTorch path: one slice assignment per tile."""

import pytest
import torch

from benchmarks.agreement import EQUAL
from benchmarks.conftest import OURS
from unet_fast import ops, reference


@pytest.mark.parametrize(("side", "planes", "dtype"), [(512, (), torch.uint8), (2048, (2,), torch.float32)], ids=str)
def test_stitch_tiles(compare, device, side, planes, dtype):
    steps = torch.arange(0, side, 388)
    origins = torch.cartesian_prod(steps, steps)
    tiles = (torch.rand(len(origins), *planes, 388, 388) * 2).to(dtype)
    calls = {
        OURS: lambda: ops.stitch_tiles(tiles, origins, (side, side)),
        "slices": lambda: reference.stitch_tiles(tiles, origins, (side, side)),
    }
    compare(
        calls,
        group="stitch_tiles",
        agreement=EQUAL,
        gbyte=2 * side**2 * tiles[0].numel() / 388**2 * tiles.element_size() / 1e9,
    )
