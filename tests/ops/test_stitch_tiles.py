"""stitch_tiles: tiles back into one image."""

import pytest
import torch

from unet_fast import ops, reference

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.uint16,
    torch.bfloat16,
    torch.float16,
    torch.int32,
    torch.float32,
    torch.int64,
    torch.float64,
]


def random_tiles(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(shape, generator=generator) * 200).to(torch.int32).to(dtype)


def assert_equals_reference(tiles, origins, size):
    stitched = ops.stitch_tiles(tiles, origins, size)
    assert stitched.is_contiguous()
    torch.testing.assert_close(stitched, reference.stitch_tiles(tiles, origins, size), rtol=0, atol=0)


def test_by_eye(device):
    tiles = torch.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 9], [9, 9]]], device=device)
    stitched = ops.stitch_tiles(tiles, torch.tensor([[-1, 0], [1, 2], [5, 0]], device=device), (3, 3))
    assert stitched.tolist() == [[3, 4, 0], [0, 0, 5], [0, 0, 7]]


def test_last_of_overlapping_tiles_wins(device):
    tiles = torch.arange(1, 5, device=device)[:, None, None].expand(4, 1, 4)
    stitched = ops.stitch_tiles(tiles, torch.tensor([[0, 2], [0, 0], [0, 1], [0, 6]], device=device), (1, 8))
    assert stitched.tolist() == [[2, 3, 3, 3, 3, 1, 4, 4]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tile", [(1, 1), (3, 127), (2, 128), (5, 129)])
@pytest.mark.parametrize("planes", [(), (1,), (3,)])
def test_equals_reference(device, generator, dtype, tile, planes):
    tiles = random_tiles((7, *planes, *tile), dtype, generator).to(device)
    origins = torch.randint(-130, 200, (7, 2), generator=generator).to(device)
    origins[:3, 0] %= 20
    assert_equals_reference(tiles, origins, (20, 190))


def test_more_rows_than_one_task(device, generator):
    tiles = random_tiles((9, 2, 60, 50), torch.float32, generator).to(device)
    origins = torch.cartesian_prod(torch.arange(0, 180, 60), torch.arange(0, 150, 50)).to(device)
    assert_equals_reference(tiles, origins, (171, 149))


def test_undoes_mirror_tiles(device, generator):
    image = random_tiles((3, 100, 70), torch.float32, generator).to(device)
    origins = torch.cartesian_prod(torch.arange(0, 100, 32), torch.arange(0, 70, 32)).to(device)
    torch.testing.assert_close(
        ops.stitch_tiles(ops.mirror_tiles(image, origins, 32), origins, (100, 70)), image, rtol=0, atol=0
    )


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 1, 2, 0), (0, 1, 3, 2)])
def test_strided_tiles(device, generator, order):
    tiles = random_tiles((8, 6, 9, 12), torch.int32, generator).to(device).permute(order)[::2, 1:, ::2, ::3]
    origins = torch.randint(-4, 20, (len(tiles), 2), generator=generator).to(device)
    assert_equals_reference(tiles, origins, (21, 22))


def test_same_bits_with_any_number_of_threads(generator):
    tiles = random_tiles((40, 50, 60), torch.int32, generator)
    origins = torch.randint(-20, 180, (40, 2), generator=generator)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(ops.stitch_tiles(tiles, origins, (200, 200)))
    assert torch.equal(*results)


@pytest.mark.parametrize(("shape", "size"), [((0, 2, 5, 5), (8, 8)), ((2, 0, 5, 5), (8, 8)), ((2, 2, 5, 5), (0, 8))])
def test_empty(device, shape, size):
    tiles = torch.ones(shape, device=device)
    stitched = ops.stitch_tiles(tiles, torch.zeros(shape[0], 2, dtype=torch.int64, device=device), size)
    assert stitched.shape == (shape[1], *size)
    assert not stitched.any()


def test_opcheck(device, generator):
    origins = torch.tensor([[0, 0], [3, 4]], device=device)
    for shape in [(2, 5, 5), (2, 3, 5, 5)]:
        tiles = random_tiles(shape, torch.float32, generator).to(device)
        torch.library.opcheck(torch.ops.unet_fast.stitch_tiles.default, (tiles, origins, 8, 9))


def test_compiles_without_graph_break(generator):
    tiles, origins = random_tiles((2, 3, 5, 5), torch.float32, generator), torch.tensor([[0, 0], [3, 4]])
    compiled = torch.compile(lambda t, o: ops.stitch_tiles(t, o, (8, 9)) * 2, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(tiles, origins), ops.stitch_tiles(tiles, origins, (8, 9)) * 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tiles": torch.zeros(5, 5)}, ValueError, r"tiles: wanted shape \[T, h, w\] or \[T, K, h, w\], got \[5, 5\]"),
        (
            {"origins": torch.zeros(3, 2, dtype=torch.int64)},
            ValueError,
            r"origins: wanted shape \[1, 2\], got \[3, 2\]",
        ),
        ({"origins": torch.zeros(1, 2)}, TypeError, "origins: wanted dtype int64, got float32"),
        ({"size": (-1, 4)}, ValueError, "size: wanted at least 0 pixels"),
    ],
)
def test_errors(change, error, message):
    arguments = {"tiles": torch.zeros(1, 5, 5), "origins": torch.zeros(1, 2, dtype=torch.int64), "size": (4, 4)}
    with pytest.raises(error, match="stitch_tiles: " + message):
        ops.stitch_tiles(**(arguments | change))
