"""mirror_tiles against the pure-PyTorch path, and against a plain copy that moves as many bytes."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks import rivals
from benchmarks.agreement import EQUAL
from benchmarks.conftest import OURS
from unet_fast import ops, reference


def pad_and_slice(image: torch.Tensor, origins: torch.Tensor, side: int) -> torch.Tensor:
    padded = F.pad(image.float()[None], (92, 92 + side, 92, 92 + side), mode="reflect")
    tiles = [padded[:, :, y + 92 : y + 92 + side, x + 92 : x + 92 + side] for y, x in origins.tolist()]
    return torch.cat(tiles).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize(("channels", "side"), [(1, 1024), (1, 2048), (3, 1024)])
def test_mirror_tiles(compare, device, dear, channels, side, dtype):
    image = (torch.rand(channels, side, side) * 255).to(dtype)
    steps = torch.arange(-92, side - 92, 388)
    origins = torch.cartesian_prod(steps, steps)
    tiles = reference.mirror_tiles(image, origins, 572)
    moved = image.numel() * image.element_size() + 4 * tiles.numel()
    # A copy reads and writes each byte, so it moves half as many.
    copied = tiles.clone().permute(0, 2, 3, 1).flatten()
    part = moved // (2 * 4)
    source = copied[:part].clone()
    copied[:part] = -1

    def copy() -> torch.Tensor:
        copied[:part].copy_(source)
        return copied.view(len(origins), 572, 572, channels).permute(0, 3, 1, 2)

    calls = {
        OURS: lambda: ops.mirror_tiles(image, origins, 572),
        "indexing": lambda: reference.mirror_tiles(image, origins, 572),
        "F.pad": lambda: pad_and_slice(image, origins, 572),
        "copy of as many bytes": copy,
    }
    if dear.compiled:
        compiled = rivals.compiled(reference.mirror_tiles)
        calls["indexing, torch.compile"] = lambda: compiled(image, origins, 572)
    compare(
        calls,
        group="mirror_tiles",
        agreement=EQUAL,
        gbyte=moved / 1e9,
        references=("copy of as many bytes",),
    )
