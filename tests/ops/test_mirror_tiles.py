"""mirror_tiles: mirror extrapolation of tiles."""

import numpy as np
import pytest
import torch

from unet_fast import ops, reference

DTYPES = [torch.uint8, torch.uint16, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float32]
DTYPES += [torch.float64, torch.bool]


def random_image(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(shape, generator=generator) * 200).to(dtype)


def test_by_eye(device):
    image = torch.tensor([[[0, 1, 2], [3, 4, 5], [6, 7, 8]]], dtype=torch.uint8, device=device)
    tile = ops.mirror_tiles(image, torch.tensor([[-1, -2]], device=device), (3, 7))
    assert tile[0, 0].tolist() == [[5, 4, 3, 4, 5, 4, 3], [2, 1, 0, 1, 2, 1, 0], [5, 4, 3, 4, 5, 4, 3]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 5), (3, 7, 4), (1, 63, 64), (2, 65, 50)])
@pytest.mark.parametrize("side", [1, 15, 16, 17, (33, 188)])
def test_equals_reference(device, generator, dtype, size, side):
    image = random_image(size, dtype, generator).to(device)
    origins = torch.randint(-190, 190, (5, 2), generator=generator).to(device)
    tiles = ops.mirror_tiles(image, origins, side)
    assert tiles.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(tiles, reference.mirror_tiles(image, origins, side), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_results(device, generator, channels, dtype):
    """Beyond 16 MB they are streamed past the caches, row by row: rows begin anywhere in a line."""
    image = random_image((channels, 700, 801), torch.uint8, generator).to(device)
    origins = torch.randint(-90, 400, (34 // channels, 2), generator=generator).to(device)
    tiles = ops.mirror_tiles(image, origins, (571, 573), dtype=dtype)
    torch.testing.assert_close(tiles, reference.mirror_tiles(image, origins, (571, 573), dtype=dtype), rtol=0, atol=0)


def test_equals_numpy_reflect(device, generator):
    image = random_image((1, 40, 30), torch.float32, generator)
    padded = np.pad(image[0].numpy(), 92, mode="reflect")
    tile = ops.mirror_tiles(image.to(device), torch.tensor([[-92, -92]], device=device), (40 + 184, 30 + 184))
    np.testing.assert_array_equal(tile[0, 0].cpu().numpy(), padded)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scale_and_offset(device, generator, dtype):
    image = random_image((3, 20, 20), torch.uint8, generator).to(device)
    origins = torch.tensor([[-5, 3], [10, 10]], device=device)
    scale, offset = torch.tensor([0.5, 2.0, 1 / 255], device=device), torch.tensor([0.0, -1.0, 3.0], device=device)
    tiles = ops.mirror_tiles(image, origins, 24, scale=scale, offset=offset, dtype=dtype)
    expected = reference.mirror_tiles(image, origins, 24, scale=scale, offset=offset, dtype=dtype)
    torch.testing.assert_close(tiles, expected, rtol=0, atol=0)


def test_strided_image(device, generator):
    image = random_image((20, 30, 4), torch.float32, generator).to(device).permute(2, 0, 1)[1:3, ::2, ::3]
    origins = torch.tensor([[-3, -3]], device=device)
    expected = reference.mirror_tiles(image, origins, 20)
    torch.testing.assert_close(ops.mirror_tiles(image, origins, 20), expected, rtol=0, atol=0)


def test_no_tiles(device):
    image = torch.zeros(2, 5, 5, device=device)
    assert ops.mirror_tiles(image, torch.zeros(0, 2, dtype=torch.int64, device=device), 16).shape == (0, 2, 16, 16)


def test_opcheck(device, generator):
    image = random_image((2, 20, 20), torch.uint8, generator).to(device)
    args = (image, torch.tensor([[-3, 4]], device=device), 16, 24, None, None, torch.float32)
    torch.library.opcheck(torch.ops.unet_fast.mirror_tiles.default, args)


def test_compiles_without_graph_break(generator):
    image, origins = random_image((1, 20, 20), torch.float32, generator), torch.tensor([[-3, 4]])
    compiled = torch.compile(lambda i, o: ops.mirror_tiles(i, o, 16) * 2, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(image, origins), ops.mirror_tiles(image, origins, 16) * 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image": torch.zeros(5, 5)}, ValueError, r"image: wanted shape \[C, H, W\], got \[5, 5\]"),
        ({"image": torch.zeros(1, 5, 5, dtype=torch.int64)}, TypeError, r"image: wanted dtype uint8 or .*, got int64"),
        ({"image": torch.zeros(1, 0, 5)}, ValueError, "image: wanted at least one channel and pixel"),
        ({"origins": torch.zeros(3, dtype=torch.int64)}, ValueError, r"origins: wanted shape \[T, 2\], got \[3\]"),
        ({"origins": torch.zeros(3, 2)}, TypeError, "origins: wanted dtype int64, got float32"),
        ({"side": 0}, ValueError, "side: wanted at least 1 pixel"),
        ({"scale": torch.ones(2)}, ValueError, r"scale: wanted shape \[1\], got \[2\]"),
        ({"dtype": torch.float64}, TypeError, "out: wanted dtype bfloat16 or float32, got float64"),
    ],
)
def test_errors(change, error, message):
    arguments = {"image": torch.zeros(1, 5, 5), "origins": torch.zeros(1, 2, dtype=torch.int64), "side": 4} | change
    with pytest.raises(error, match="mirror_tiles: " + message):
        ops.mirror_tiles(**arguments)
