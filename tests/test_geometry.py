"""Sizes of the network and plans of tiles."""

import pytest
import torch

from unet_fast.geometry import TilePlan, border, check_side, is_legal, legal_side, nearest_legal_sides


def trace(side: int, depth: int) -> int | None:
    """Follow one side through the network; None where it is illegal."""
    for _ in range(depth):
        side -= 4
        if side < 2 or side % 2:
            return None
        side //= 2
    side -= 4
    for _ in range(depth):
        side = 2 * side - 4
    return side if side > 0 else None


def test_paper():
    assert trace(572, 4) == 388 == 572 - border(4)
    assert [side for side in range(600) if is_legal(side)] == [16 * k + 60 for k in range(8, 34)]


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_legal_sides_are_those_that_pass_through(depth):
    for side in range(1, border(depth) + 200):
        output = trace(side, depth)
        assert is_legal(side, depth) == (output is not None)
        if output is not None:
            assert output == side - border(depth)
        smallest = legal_side(side, depth)
        assert is_legal(smallest, depth) and smallest - border(depth) >= side
        assert not is_legal(smallest - 2**depth, depth) or smallest - 2**depth - border(depth) < side


def test_nearest():
    assert nearest_legal_sides(572) == (572, 572)
    assert nearest_legal_sides(570) == (556, 572)
    assert nearest_legal_sides(3) == (188, 188)
    with pytest.raises(ValueError, match=r"tile: wanted a legal input side .* got 570; the nearest is 556 or 572"):
        check_side(570, "tile")


@pytest.mark.parametrize("size", [(1, 1), (4, 5), (388, 388), (389, 388), (512, 512), (520, 696), (1000, 37)])
@pytest.mark.parametrize("tile", [204, 380, 572, (572, 204)])
def test_plan_covers_every_pixel_on_the_pooling_grid(size, tile):
    plan = TilePlan(size, tile)
    covered = torch.zeros(size, dtype=torch.int32)
    for y, x in plan.output_origins.tolist():
        assert y % 16 == 0 and x % 16 == 0
        covered[y : y + plan.output_side[0], x : x + plan.output_side[1]] += 1
    assert covered.min() >= 1
    assert all(is_legal(side) for side in plan.input_side)
    largest = (tile, tile) if isinstance(tile, int) else tile
    assert all(side <= limit for side, limit in zip(plan.input_side, largest, strict=True))
    assert torch.equal(plan.output_origins - plan.input_origins, torch.full_like(plan.output_origins, 92))


def test_plan_is_one_tile_where_the_image_fits():
    plan = TilePlan((388, 300), 572)
    assert plan.input_side == (572, 492) and len(plan.input_origins) == 1


def test_plan_errors():
    with pytest.raises(ValueError, match="tile: wanted a legal input side"):
        TilePlan((512, 512), 512)
    with pytest.raises(ValueError, match="tile: wanted at least 204 pixels for an image of 512, got 188"):
        TilePlan((512, 512), 188)
    with pytest.raises(ValueError, match="size: wanted an image of at least one pixel"):
        TilePlan((0, 5), 572)
