"""Percentiles of more numbers than memory holds: exact, by counting.

Whole numbers are counted value by value. The bits of float32 numbers, read as whole numbers, have their order (for
negative ones with all bits but the sign turned over): one pass counts their upper halves, a second one the lower
halves of those that may be the number that is looked for.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Blocks = Callable[[], Iterable[NDArray[Any]]]


def percentiles(blocks: Blocks, wanted: tuple[float, float]) -> tuple[float, float]:
    """Return the smallest values at or below which lie so many per cent of the numbers.

    Args:
        blocks: each call yields all numbers, in blocks of any shape; uint8, uint16 or float32.
        wanted: percentages, in [0, 100].
    """
    counts, dtype = np.zeros(1 << 16, dtype=np.int64), np.dtype(np.uint8)
    for block in blocks():
        dtype = block.dtype
        counts += np.bincount(_upper(block), minlength=1 << 16)
    cumulated = np.cumsum(counts)
    ranks = np.maximum(np.ceil(np.array(wanted) / 100 * cumulated[-1]), 1).astype(np.int64)
    found = np.searchsorted(cumulated, ranks)
    if dtype.kind == "u":
        return float(found[0]), float(found[1])
    lower = np.zeros((2, 1 << 16), dtype=np.int64)
    for block in blocks():
        keys = _ordered(block)
        upper = keys >> 16
        for i, half in enumerate(found):
            lower[i] += np.bincount(keys[upper == half] & 0xFFFF, minlength=1 << 16)
    values = []
    for count, half, rank in zip(lower, found, ranks, strict=True):
        before = cumulated[half] - counts[half]
        key = (int(half) << 16) | int(np.searchsorted(np.cumsum(count), rank - before))
        values.append(_number(key))
    return values[0], values[1]


def _upper(block: NDArray[Any]) -> NDArray[Any]:
    return block.ravel() if block.dtype.kind == "u" else _ordered(block) >> 16


def _ordered(block: NDArray[Any]) -> NDArray[np.int64]:
    bits = np.ascontiguousarray(block, dtype=np.float32).ravel().view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.int64)


def _number(key: int) -> float:
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, dtype=np.uint32).view(np.float32))
