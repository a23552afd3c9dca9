"""Whole numbers of the networks: which sizes are legal, what they become, and how tiles cover an image.

Every level of the contracting path loses 4 pixels to two valid 3x3 convolutions and is halved by pooling; the bottom
loses 4; every level of the expanding path is doubled and loses 4. In pixels of the input that is, for `depth` = d,
4(1 + 2 + ... + 2^(d-1)) on the way down, 4 * 2^d at the bottom and as much as on the way down on the way up:
border(d) = 12 * 2^d - 8, 184 for the paper's d = 4 (572 -> 388).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sides:
    """Which input sides a network takes, and what they become.

    Attributes:
        name: of the network, for messages: "a U-Net of depth 4".
        border: pixels by which the output is smaller than the input, per axis; even.
        grid: of its pooling: tiles whose origins are multiples of it see what the whole image shows, pixels.
        remainder: of a legal side divided by the grid.
    """

    name: str
    border: int
    grid: int
    remainder: int

    @classmethod
    def of(cls, network: "int | Sides") -> "Sides":
        """Return the sides of a U-Net of this depth; those of another network are returned as they are."""
        if isinstance(network, Sides):
            return network
        return cls(f"a U-Net of depth {network}", (12 << network) - 8, 1 << network, -4 % (1 << network))


def border(network: int | Sides = 4) -> int:
    """Return how many pixels the output is smaller than the input, per axis.

    Args:
        network: depth of a U-Net, or the sides of any network; so in all of this module.
    """
    return Sides.of(network).border


def is_legal(side: int, network: int | Sides = 4) -> bool:
    """Whether an input of this side can be pooled without a remainder and leaves an output."""
    sides = Sides.of(network)
    return side % sides.grid == sides.remainder and side > sides.border


def legal_side(output: int, network: int | Sides = 4) -> int:
    """Return the smallest legal input side whose output has at least `output` pixels."""
    sides = Sides.of(network)
    side = max(output, 1) + sides.border
    return side + (sides.remainder - side) % sides.grid


def nearest_legal_sides(side: int, network: int | Sides = 4) -> tuple[int, int]:
    """Return the nearest legal input sides, at most and at least `side`; below the smallest one, that one twice."""
    sides = Sides.of(network)
    smallest = legal_side(1, sides)
    below = side - (side - sides.remainder) % sides.grid
    above = side + (sides.remainder - side) % sides.grid
    return max(below, smallest), max(above, smallest)


def check_side(side: int, name: str, network: int | Sides = 4) -> None:
    """Raise ValueError, naming the nearest legal sizes, where `side` is no legal input size."""
    sides = Sides.of(network)
    if is_legal(side, sides):
        return
    smallest = legal_side(1, sides)
    below, above = nearest_legal_sides(side, sides)
    nearest = f"{above}" if below == above else f"{below} or {above}"
    raise ValueError(
        f"{name}: wanted a legal input side of {sides.name} ({smallest}, {smallest + sides.grid}, "
        f"{smallest + 2 * sides.grid}, ...; the output is {sides.border} pixels smaller), got {side}; "
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


def _divide(size: int, largest: int, sides: Sides) -> tuple[int, int, int]:
    """Cover `size` output pixels by as few tiles of at most `largest` as possible: (tiles, input side, step)."""
    grid = sides.grid
    step = (largest - sides.border) // grid * grid
    if size <= largest - sides.border:
        return 1, legal_side(size, sides), size
    if step == 0:
        raise ValueError(
            f"tile: wanted at least {legal_side(grid, sides)} pixels for an image of {size}, got {largest}"
        )
    count = -(-size // step)
    step = -(-size // (count * grid)) * grid
    return count, legal_side(step, sides), step


@dataclass(frozen=True)
class TilePlan:
    """Tiles that cover an image exactly: seen through them, the network computes the same as on the whole image.

    Pooling divides the plane into a grid, of 2^depth pixels for a U-Net. Where the origins of the tiles lie on that
    grid, a pixel meets the same pooling windows in its tile as in the whole image; so origins and steps are multiples
    of the grid.
    Tiles may reach beyond the lower and right border of the image; what they predict there is dropped.

    Args:
        size: (H, W) of the image in pixels.
        tile: largest input side of a tile in pixels, one number or (height, width). Tiles are as few as this allows,
            and as small as their number allows.
        network: depth of a U-Net, 4 as in the paper, or the sides of another network.

    Raises:
        ValueError: `tile` is no legal input side of the network, or the image is empty.
    """

    size: tuple[int, int]
    tile: int | tuple[int, int]
    network: int | Sides = 4
    input_side: tuple[int, int] = field(init=False)  # (height, width) of a tile that the network reads, pixels
    output_side: tuple[int, int] = field(init=False)  # (height, width) that it predicts, pixels
    step: tuple[int, int] = field(
        init=False
    )  # (height, width) from tile to tile: what each gives to the result, pixels
    input_origins: Tensor = field(init=False, repr=False, compare=False)  # int64 [T, 2], (y, x), may be negative
    output_origins: Tensor = field(init=False, repr=False, compare=False)  # int64 [T, 2], (y, x)

    def __post_init__(self) -> None:
        sides = Sides.of(self.network)
        largest = (self.tile, self.tile) if isinstance(self.tile, int) else self.tile
        for side in largest:
            check_side(side, "tile", sides)
        if min(self.size) < 1:
            raise ValueError(f"size: wanted an image of at least one pixel, got {self.size}")
        rows, columns = (_divide(n, limit, sides) for n, limit in zip(self.size, largest, strict=True))
        origins = torch.cartesian_prod(torch.arange(rows[0]) * rows[2], torch.arange(columns[0]) * columns[2])
        read = (rows[1], columns[1])
        object.__setattr__(self, "input_side", read)
        object.__setattr__(self, "output_side", tuple(side - sides.border for side in read))
        object.__setattr__(self, "step", (rows[2], columns[2]))
        object.__setattr__(self, "output_origins", origins)
        object.__setattr__(self, "input_origins", origins - sides.border // 2)
