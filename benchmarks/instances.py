"""Instance maps like those of microscopy: cells of irregular outline, some of them touching."""

import functools

import numpy as np
import torch
from scipy.spatial import cKDTree


@functools.lru_cache(maxsize=4)
def cells(count: int, side: int, seed: int = 0) -> torch.Tensor:
    """Draw a [1, side, side] int32 map of `count` cells that cover about half of it."""
    rng = np.random.default_rng(seed)
    pixels = np.mgrid[:side, :side].reshape(2, -1).T
    distance, cell = cKDTree(rng.random((count, 2)) * side).query(pixels, k=2, workers=-1)
    gap = rng.uniform(0, 6, count)[cell[:, 0]]  # pixels between a cell and the middle line to its neighbour
    inside = (distance[:, 1] - distance[:, 0] > gap) & (distance[:, 0] < 0.6 * side / np.sqrt(count))
    return torch.from_numpy(np.where(inside, cell[:, 0] + 1, 0).astype(np.int32)).reshape(1, side, side)
