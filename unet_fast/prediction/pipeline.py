"""Read, compute and write tiles at the same time: two threads beside the one that computes, two streams on CUDA."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from unet_fast.data import Normalization
from unet_fast.data.images import Image
from unet_fast.geometry import TilePlan, mirrored_extent
from unet_fast.ops import mirror_tiles
from unet_fast.prediction.network import TileNetwork
from unet_fast.prediction.source import Source
from unet_fast.transfers import Transfers, on_device

Read = tuple[Image, list[int], list[Tensor]]
Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2  # batches that are read, or not yet written, beside the one that is computed


@dataclass(frozen=True)
class Task:
    """One tile of one plane.

    Attributes:
        plane: index of the plane.
        tile: index of the tile in the plan.
    """

    plane: int
    tile: int


@dataclass(frozen=True)
class Found:
    """The result of a task, cut to the image.

    Attributes:
        task: what was computed.
        rows: of the image.
        columns: of the image.
        probabilities: [K, h, w] float32.
    """

    task: Task
    rows: slice
    columns: slice
    probabilities: Tensor


class TileReader:
    """Reads what a tile needs of an image file, and brings it to the network's range.

    Args:
        source: the image.
        plan: its tiles.
        normalization: taken from each plane as a whole, which is read once or twice for that.
        device: where tiles go.
    """

    def __init__(self, source: Source, plan: TilePlan, normalization: Normalization, device: torch.device) -> None:
        self.source, self.plan, self.device = source, plan, device
        self._factors = lru_cache(maxsize=2)(
            lambda plane: normalization.streamed_scale_and_offset(
                lambda: source.blocks(plane), source.channels, source.dtype
            )
        )

    def read(self, task: Task) -> Read:
        """Return the pixels that a tile reads, its origin in them, and scale and offset of each channel."""
        origin: list[int] = self.plan.input_origins[task.tile].tolist()
        extents = [mirrored_extent(*axis) for axis in zip(origin, self.plan.input_side, self.source.size, strict=True)]
        factors = [torch.from_numpy(factor) for factor in self._factors(task.plane)]
        pixels = self.source.read(task.plane, *(slice(*extent) for extent in extents))
        return pixels, [start - extent[0] for start, extent in zip(origin, extents, strict=True)], factors

    def tile(self, pixels: Image, origin: list[int], factors: list[Tensor]) -> Tensor:
        """Return the tile [1, C, h, w], normalised and mirrored, on the device."""
        scale, offset, image, origins = (
            on_device(tensor, self.device) for tensor in (*factors, torch.from_numpy(pixels), torch.tensor([origin]))
        )
        return mirror_tiles(image, origins, self.plan.input_side, scale=scale, offset=offset)

    def window(self, task: Task) -> tuple[slice, slice]:
        """Return the pixels of the image that a tile gives to the result; no two tiles share one."""
        origin = self.plan.output_origins[task.tile].tolist()
        starts = zip(origin, self.plan.step, self.source.size, strict=True)
        rows, columns = (slice(start, min(start + step, size)) for start, step, size in starts)
        return rows, columns


def predict_tiles(
    reader: TileReader, network: TileNetwork, tasks: Sequence[Task], write: Callable[[Found], None], batch: int = 1
) -> Iterator[Task]:
    """Compute tiles and hand each result to `write` in another thread; yields each task when its result is written.

    The results arrive in the order of the tasks. At most a few batches are in memory, whatever the size of the image.

    Args:
        reader: of the tiles.
        network: computes them.
        tasks: the tiles.
        write: takes each result.
        batch: tiles that are computed at once. The last batch is filled up, for a CUDA graph has one shape.
    """
    batch = max(1, min(batch, len(tasks)))
    batches = [tasks[i : i + batch] for i in range(0, len(tasks), batch)]
    transfers = Transfers(reader.device)
    with ThreadPoolExecutor(1) as writer:
        pending: deque[Future[Sequence[Task]]] = deque()
        for part, read in _read_ahead(lambda part: [reader.read(task) for task in part], batches):

            def tiles(read: list[Read] = read) -> Tensor:
                made = [reader.tile(*one) for one in read]
                return torch.cat(made + made[-1:] * (batch - len(made)))

            found = transfers.down(network(transfers.up(tiles)))
            pending.append(writer.submit(_write_all, write, reader, part, found))
            while len(pending) > _AHEAD:
                yield from pending.popleft().result()
        for future in pending:
            yield from future.result()


def _write_all(
    write: Callable[[Found], None], reader: TileReader, tasks: Sequence[Task], found: Callable[[], Tensor]
) -> Sequence[Task]:
    for task, probabilities in zip(tasks, found(), strict=False):
        rows, columns = reader.window(task)
        cut = probabilities[:, : rows.stop - rows.start, : columns.stop - columns.start]
        write(Found(task, rows, columns, cut))
    return tasks


def _read_ahead(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Yield items with what `read` made of them, a few read ahead in another thread."""
    executor = ThreadPoolExecutor(1)
    pending: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            pending.append((item, executor.submit(read, item)))
            if len(pending) > _AHEAD:
                first, future = pending.popleft()
                yield first, future.result()
        for item, future in pending:
            yield item, future.result()
    finally:
        executor.shutdown(cancel_futures=True)
