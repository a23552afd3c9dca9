"""How many pixels each label of one image shares with each of another: the table that Rand, SEG and F1 are read off."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class Overlaps:
    """Pairs of labels that share a pixel.

    Attributes:
        first: [P] int64, label in the first image of each pair; 0 is background.
        second: [P] int64, label in the second image.
        pixels: [P] int64, shared pixels, at least 1.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pixels: NDArray[np.int64]

    def sizes_of_first(self) -> NDArray[np.int64]:
        """Return the pixels of every label of the first image, indexed by label."""
        return np.bincount(self.first, self.pixels, minlength=1).astype(np.int64)

    def sizes_of_second(self) -> NDArray[np.int64]:
        """Return the pixels of every label of the second image, indexed by label."""
        return np.bincount(self.second, self.pixels, minlength=1).astype(np.int64)


def count_overlaps(first: NDArray[Any], second: NDArray[Any]) -> Overlaps:
    """Count the pixels that labels share.

    Args:
        first: [H, W] whole numbers from 0 (up to some millions: `sizes_of_first` is as long).
        second: the same shape.

    Returns:
        The pairs, in ascending order.
    """
    rows, columns = first.ravel().astype(np.int64), second.ravel().astype(np.int64)
    shape = (int(rows.max(initial=0)) + 1, int(columns.max(initial=0)) + 1)
    table = sparse.coo_array((np.ones(rows.size, dtype=np.int64), (rows, columns)), shape=shape).tocsr()
    table.sort_indices()
    pairs = table.tocoo()
    return Overlaps(pairs.row.astype(np.int64), pairs.col.astype(np.int64), pairs.data)
