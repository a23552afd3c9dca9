"""mirror_tiles against the pure-PyTorch path: index arithmetic, or F.pad and unfold."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.conftest import OURS
from unet_fast import ops, reference


def pad_and_slice(image: torch.Tensor, origins: torch.Tensor, side: int) -> torch.Tensor:
    padded = F.pad(image.float()[None], (92, 92 + side, 92, 92 + side), mode="reflect")
    tiles = [padded[:, :, y + 92 : y + 92 + side, x + 92 : x + 92 + side] for y, x in origins.tolist()]
    return torch.cat(tiles).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", [1024, 2048])
def test_mirror_tiles(compare, device, side):
    image = (torch.rand(1, side, side, device=device) * 255).to(torch.uint8)
    steps = torch.arange(-92, side - 92, 388, device=device)
    origins = torch.cartesian_prod(steps, steps)
    moved = image.numel() + 4 * len(origins) * 572**2
    compare(
        {
            OURS: lambda: ops.mirror_tiles(image, origins, 572),
            "indexing": lambda: reference.mirror_tiles(image, origins, 572),
            "F.pad": lambda: pad_and_slice(image, origins, 572),
        },
        group="mirror_tiles",
        verify=lambda ours, other: torch.testing.assert_close(ours, other, rtol=0, atol=0),
        gbyte=moved / 1e9,
    )
