"""Arrays on disk of which only what is asked for is in memory."""

import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

Index = tuple[int | slice, ...]


def sync_file(path: Path) -> None:
    """Return when all that was written to a file is on the disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Readable(Protocol):
    """What can be read window by window: NumPy and zarr arrays, `FileArray`, `TiffArray`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Kind of number."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read a window: whole numbers and slices of step 1, one for each axis."""


class FileArray:
    """Numbers that lie one after the other in a file, in C order.

    The file is mapped anew for every window: pages of a mapping count as memory of the process as long as it lives.

    Args:
        path: the file.
        dtype: of the numbers, in any byte order.
        shape: of the array.
        offset: bytes before the first number.
    """

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...], offset: int = 0) -> None:
        self.path, self.dtype, self.shape, self.offset = path, np.dtype(dtype), shape, offset
        size = path.stat().st_size
        if size < offset + self.nbytes:
            raise ValueError(f"it ends early: wanted {offset + self.nbytes} bytes, got {size}")

    @classmethod
    def create(cls, path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> "FileArray":
        """Make a file of zeros, which takes no room on disk before it is written to."""
        with path.open("wb") as file:
            file.truncate(math.prod(shape) * np.dtype(dtype).itemsize)
        return cls(path, dtype, shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def plane(self, index: int) -> "FileArray":
        """Return the part that array[index] would be, unread."""
        rest = self.shape[1:]
        return FileArray(self.path, self.dtype, rest, self.offset + index * math.prod(rest) * self.dtype.itemsize)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        return np.array(self._mapped("r")[index])

    def __setitem__(self, index: Any, values: Any) -> None:
        self._mapped("r+")[index] = values

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        sync_file(self.path)

    def _mapped(self, mode: Any) -> NDArray[Any]:
        return np.memmap(self.path, self.dtype, mode, self.offset, self.shape)
