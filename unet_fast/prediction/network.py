"""The network as prediction uses it: from mirrored tiles to probabilities."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from unet_fast.geometry import TilePlan, legal_side
from unet_fast.graphs import Graphed, recorder_for
from unet_fast.networks import Network
from unet_fast.ops import stitch_tiles
from unet_fast.precision import DTYPES, Precision, tf32
from unet_fast.prediction.memory import is_memory_short

Averaged = Literal["none", "mirrors", "all"]
_Turn = tuple[bool, bool, bool]  # transposed, then mirrored in y, then in x

# The symmetries of the square: mirrors alone, or with rotations by 90 degrees. Origins of tiles lie on a grid of
# 2^depth pixels from either end of an image of legal size, so the mirrored tile is a tile of the mirrored image.
_TURNS: dict[str, list[_Turn]] = {
    "none": [(False, False, False)],
    "mirrors": [(False, y, x) for y in (False, True) for x in (False, True)],
    "all": [(t, y, x) for t in (False, True) for y in (False, True) for x in (False, True)],
}


class TileNetwork:
    """Computes the probabilities of tiles, on CUDA by a graph; short of memory, it goes on with fewer and smaller ones.

    Args:
        net: in evaluation mode, on its device.
        average: "none", the mean over the four "mirrors", or over "all" eight mirrors and rotations.
        precision: in which the network computes.

    Attributes:
        largest: input side that fits into memory, as far as is known; None: no tile was too large yet.
        most: tiles that fit into memory at once, as far as is known; None: there were never too many.
    """

    def __init__(self, net: Network, average: Averaged = "none", precision: Precision = "float32") -> None:
        self.net, self._turns, self._dtype = net, _TURNS[average], DTYPES[precision]
        self._graphed = Graphed(self._whole, recorder_for(next(net.parameters()).device))
        self.largest: int | None = None
        self.most: int | None = None

    def __call__(self, tiles: Tensor) -> Tensor:
        """Compute [N, K, h - border, w - border] float32 of tiles float32 [N, C, h, w] of legal size."""
        total: Tensor | None = None
        for turn in self._turns:
            found = _turned_back(self._probabilities(_turned(tiles, turn)), turn)
            total = found if total is None else total.add_(found)
        assert total is not None
        return total if len(self._turns) == 1 else total / len(self._turns)

    def _probabilities(self, tiles: Tensor) -> Tensor:
        while True:
            count, side = len(tiles), max(tiles.shape[-2:])
            try:
                if self.most is not None and count > self.most:
                    return torch.cat([self._probabilities(part) for part in tiles.split(self.most)])
                if self.largest is None or side <= self.largest:
                    return self._graphed(tiles)
                return torch.stack([self._in_parts(tile, self.largest) for tile in tiles])
            except (MemoryError, RuntimeError) as error:
                if not is_memory_short(error):
                    raise
            # Outside `except`, where the error would hold on to the tensors.
            self._graphed.forget()
            if count > 1:
                self.most = count // 2
            else:
                self.largest = self._smaller(min(side, self.largest or side))
            if tiles.is_cuda:
                torch.cuda.empty_cache()

    def _whole(self, tiles: Tensor) -> Tensor:
        probabilities: Tensor = self.net(tiles.to(self._dtype), softmax=True)
        return probabilities

    def _smaller(self, side: int) -> int:
        """Return a legal side with about half of the output."""
        least, grid = self.net.sides.border, self.net.sides.grid
        output = (side - least) // 2 // grid * grid
        if output < grid:
            raise MemoryError(f"not even a tile of {side} pixels fits into memory: a smaller network or --device cpu")
        return legal_side(output, self.net.sides)

    def _in_parts(self, tile: Tensor, side: int) -> Tensor:
        """Compute a tile [C, h, w] as smaller tiles, whose origins lie on the same grid: the result is the same."""
        size = (tile.shape[-2] - self.net.sides.border, tile.shape[-1] - self.net.sides.border)
        plan = TilePlan(size, side, self.net.sides)
        height, width = plan.input_side
        last_y, last_x = tile.shape[-2] - height, tile.shape[-1] - width  # on the grid, for all sizes are legal
        origins = [(min(y, last_y), min(x, last_x)) for y, x in plan.output_origins.tolist()]
        parts = [self._graphed(tile[None, :, y : y + height, x : x + width]) for y, x in origins]
        return stitch_tiles(torch.cat(parts), torch.tensor(origins, device=tile.device), size)


def _turned(image: Tensor, turn: _Turn) -> Tensor:
    transposed, *mirrored = turn
    return _mirrored(image.transpose(-1, -2) if transposed else image, mirrored)


def _turned_back(image: Tensor, turn: _Turn) -> Tensor:
    transposed, *mirrored = turn
    image = _mirrored(image, mirrored)
    return image.transpose(-1, -2) if transposed else image


def _mirrored(image: Tensor, mirrored: list[bool]) -> Tensor:
    axes = [axis for axis, is_mirrored in zip((-2, -1), mirrored, strict=True) if is_mirrored]
    return image.flip(axes) if axes else image


@contextmanager
def evaluating(net: Network, many: bool, precision: Precision = "float32") -> Iterator[None]:
    """Within this context the network predicts; afterwards it is as it was. `many`: tiles, so packing weights pays."""
    was_training = net.training
    net.eval()
    packed = net.packed_weights(DTYPES[precision]) if many else nullcontext()
    is_on_cuda = next(net.parameters()).is_cuda
    try:
        with torch.inference_mode(), tf32(precision == "tf32") if is_on_cuda else nullcontext(), packed:
            yield
    finally:
        net.train(was_training)
