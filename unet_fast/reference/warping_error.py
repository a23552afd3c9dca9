"""warping_error in plain Python, step by step as its definition reads."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

_EIGHT = np.ones((3, 3), dtype=int)
MERGE, SPLIT, HOLE_ADDITION, HOLE_DELETION, OBJECT_ADDITION, OBJECT_DELETION = range(1, 7)


@functools.cache
def is_simple(patch: bytes) -> bool:
    """Return whether flipping the centre of a 3x3 patch (nine bytes, 0 or 1) changes no topology."""
    objects = np.frombuffer(patch, np.uint8).reshape(3, 3).copy()
    objects[1, 1] = 0
    background = 1 - objects
    background[1, 1] = 0
    components = ndimage.label(objects)[0]
    touching = {components[0, 1], components[1, 0], components[1, 2], components[2, 1]} - {0}
    return len(touching) == 1 and ndimage.label(background, _EIGHT)[1] == 1


def _warp(
    truth: NDArray[np.uint8], probability: NDArray[np.float32], threshold: np.float32, mask: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Return the warped truth and the mismatches that are left; all images padded by one pixel of background."""
    level, target = truth.copy(), probability > threshold
    before = -1
    while True:
        # Columns outside, rows inside; Python's sort is stable.
        mismatches = [(y, x) for x, y in np.argwhere(((level != target) & mask).T).tolist()]
        if len(mismatches) in (0, before):
            return level, mismatches
        before = len(mismatches)
        for y, x in sorted(mismatches, key=lambda p: -abs(probability[p] - threshold)):
            if is_simple(level[y - 1 : y + 2, x - 1 : x + 2].tobytes()):
                level[y, x] = 1 - level[y, x]


def _ids_around(components: NDArray[np.integer], y: int, x: int) -> set[int]:
    """Return the values in the 8-neighbourhood of a pixel, without the pixel itself and what lies off the image."""
    values = components[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].copy()
    centre = (min(y, 1), min(x, 1))
    return set(np.delete(values.ravel(), np.ravel_multi_index(centre, values.shape)).tolist())


def _type_of(level: NDArray[np.uint8], components: NDArray[np.integer], y: int, x: int, radius: int) -> int:
    """Classify the residual mismatch at (y, x) of the unpadded warped truth."""
    ids, is_object = _ids_around(components, y, x), bool(level[y, x])
    if ids <= {0}:
        return OBJECT_DELETION if is_object else OBJECT_ADDITION
    if len(ids) == 1:
        return HOLE_ADDITION if is_object else HOLE_DELETION
    if len(ids) > 2:
        return SPLIT if is_object else MERGE
    if not is_object:
        return HOLE_ADDITION
    without = level.copy()
    without[y, x] = 0
    top, left = (0, 0) if radius < 0 else (max(y - radius, 0), max(x - radius, 0))
    bottom, right = level.shape if radius < 0 else (y + radius + 1, x + radius + 1)
    window = ndimage.label(without[top:bottom, left:right])[0]
    return SPLIT if len(_ids_around(window, y - top, x - left)) > 2 else HOLE_DELETION


def warping_error(
    truth: Tensor,
    probability: Tensor,
    thresholds: Tensor,
    *,
    mask: Tensor | None = None,
    radius: int = 20,
    maps: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Warp and classify; see `unet_fast.ops.warping_error`."""
    slices, (height, width), levels = truth.shape[0], truth.shape[1:], len(thresholds)
    counts = np.zeros((slices, levels, 6), dtype=np.int64)
    residual, warped = (np.zeros((slices, levels, height, width), dtype=np.uint8) for _ in range(2))
    movable = np.ones(truth.shape, dtype=bool) if mask is None else mask.numpy() != 0
    for z in range(slices):
        padded = [np.pad(image, 1) for image in ((truth[z] != 0).byte().numpy(), probability[z].numpy(), movable[z])]
        for s, threshold in enumerate(thresholds.numpy()):
            level, mismatches = _warp(padded[0], padded[1], threshold, padded[2])
            warped[z, s] = level[1:-1, 1:-1]
            components = ndimage.label(warped[z, s])[0]
            for y, x in mismatches:
                residual[z, s, y - 1, x - 1] = _type_of(warped[z, s], components, y - 1, x - 1, radius)
            counts[z, s] = np.bincount(residual[z, s].ravel(), minlength=7)[1:]
    if not maps:
        residual, warped = residual[..., :0, :0], warped[..., :0, :0]
    return torch.from_numpy(counts), torch.from_numpy(residual), torch.from_numpy(warped)
