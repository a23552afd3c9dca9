"""Whole numbers of the U-Net: which sizes are legal, what they become, and how tiles cover an image.

Every level of the contracting path loses 4 pixels to two valid 3x3 convolutions and is halved by pooling; the bottom
loses 4; every level of the expanding path is doubled and loses 4. In pixels of the input that is, for `depth` = d,
4(1 + 2 + ... + 2^(d-1)) on the way down, 4 * 2^d at the bottom and as much as on the way down on the way up:
border(d) = 12 * 2^d - 8, 184 for the paper's d = 4 (572 -> 388).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


def border(depth: int = 4) -> int:
    """Return how many pixels the output is smaller than the input, per axis."""
    return (12 << depth) - 8


def is_legal(side: int, depth: int = 4) -> bool:
    """Whether an input of this side can be halved `depth` times without a remainder and leaves an output."""
    return side % (1 << depth) == -4 % (1 << depth) and side > border(depth)


def legal_side(output: int, depth: int = 4) -> int:
    """Return the smallest legal input side whose output has at least `output` pixels."""
    side = max(output, 1) + border(depth)
    return side + (-4 - side) % (1 << depth)


def nearest_legal_sides(side: int, depth: int = 4) -> tuple[int, int]:
    """Return the nearest legal input sides, at most and at least `side`; below the smallest one, that one twice."""
    smallest = legal_side(1, depth)
    below = side - (side + 4) % (1 << depth)
    above = side + (-4 - side) % (1 << depth)
    return max(below, smallest), max(above, smallest)


def check_side(side: int, name: str, depth: int = 4) -> None:
    """Raise ValueError, naming the nearest legal sizes, where `side` is no legal input size."""
    if is_legal(side, depth):
        return
    step, smallest = 1 << depth, legal_side(1, depth)
    below, above = nearest_legal_sides(side, depth)
    nearest = f"{above}" if below == above else f"{below} or {above}"
    raise ValueError(
        f"{name}: wanted a legal input side of a U-Net of depth {depth} ({smallest}, {smallest + step}, "
        f"{smallest + 2 * step}, ...; the output is {border(depth)} pixels smaller), got {side}; "
        f"the nearest is {nearest}"
    )


def mirrored_extent(origin: int, side: int, size: int) -> tuple[int, int]:
    """Return the pixels (start, stop) of an axis that a tile reads, mirrored at the ends of the axis or not.

    Cut out of that extent alone, with its ends as the ends of the image, the tile is the same: where the tile leaves
    the image, the extent ends where the image does.

    Args:
        origin: first pixel of the tile, may lie outside.
        side: pixels of the tile.
        size: pixels of the image.
    """
    last = origin + side - 1
    return max(min(origin, 2 * (size - 1) - last), 0), min(max(last, -origin) + 1, size)


def _divide(size: int, largest: int, depth: int) -> tuple[int, int, int]:
    """Cover `size` output pixels by as few tiles of at most `largest` as possible: (tiles, input side, step)."""
    grid = 1 << depth
    step = (largest - border(depth)) // grid * grid
    if size <= largest - border(depth):
        return 1, legal_side(size, depth), size
    if step == 0:
        raise ValueError(
            f"tile: wanted at least {legal_side(grid, depth)} pixels for an image of {size}, got {largest}"
        )
    count = -(-size // step)
    step = -(-size // (count * grid)) * grid
    return count, legal_side(step, depth), step


@dataclass(frozen=True)
class TilePlan:
    """Tiles that cover an image exactly: seen through them, the network computes the same as on the whole image.

    Pooling divides the plane into a grid of 2^depth pixels. Where the origins of the tiles lie on that grid, a pixel
    meets the same pooling windows in its tile as in the whole image; so origins and steps are multiples of 2^depth.
    Tiles may reach beyond the lower and right border of the image; what they predict there is dropped.

    Args:
        size: (H, W) of the image in pixels.
        tile: largest input side of a tile in pixels, one number or (height, width). Tiles are as few as this allows,
            and as small as their number allows.
        depth: levels of the network, 4 as in the paper.

    Raises:
        ValueError: `tile` is no legal input side of the network, or the image is empty.
    """

    size: tuple[int, int]
    tile: int | tuple[int, int]
    depth: int = 4
    input_side: tuple[int, int] = field(init=False)  # (height, width) of a tile that the network reads, pixels
    output_side: tuple[int, int] = field(init=False)  # (height, width) that it predicts, pixels
    input_origins: Tensor = field(init=False, repr=False, compare=False)  # int64 [T, 2], (y, x), may be negative
    output_origins: Tensor = field(init=False, repr=False, compare=False)  # int64 [T, 2], (y, x)

    def __post_init__(self) -> None:
        largest = (self.tile, self.tile) if isinstance(self.tile, int) else self.tile
        for side in largest:
            check_side(side, "tile", self.depth)
        if min(self.size) < 1:
            raise ValueError(f"size: wanted an image of at least one pixel, got {self.size}")
        rows, columns = (_divide(n, limit, self.depth) for n, limit in zip(self.size, largest, strict=True))
        origins = torch.cartesian_prod(torch.arange(rows[0]) * rows[2], torch.arange(columns[0]) * columns[2])
        sides = (rows[1], columns[1])
        object.__setattr__(self, "input_side", sides)
        object.__setattr__(self, "output_side", tuple(side - border(self.depth) for side in sides))
        object.__setattr__(self, "output_origins", origins)
        object.__setattr__(self, "input_origins", origins - border(self.depth) // 2)
