"""Turn a predicted mask into objects: its 4-connected pieces, or those of its seeds, and the gap cut between them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

REACH = 12  # steps that a seed grows, at most

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
_STRAIGHT = ((-1, 0), (0, -1), (0, 1), (1, 0))
_AROUND = (*_STRAIGHT, (-1, -1), (-1, 1), (1, -1), (1, 1))

Instances = NDArray[np.int32]


def label_instances(
    mask: ArrayLike, gap: int = 1, min_size: int = 0, fill_holes: bool = False, seeds: ArrayLike | None = None
) -> Instances:
    """Number the objects of a mask.

    In this order: the 4-connected pieces are found, their holes filled, the small ones dropped, seeds grown, and the
    gaps between those that are left given back to them.

    With seeds, the pieces are theirs: objects whose masks touch in a narrow or unsure place are two if no seed goes
    through it. They grow over the mask, all at the same time, a pixel in a step, to the four and to the eight
    neighbours in turn, for at most REACH = 12 steps; where several come to a pixel in one step, it goes to the one of
    the smallest id. What no seed reaches is background.

    Only gaps are filled; a free border stays where it is. With the Euclidean
    distances d1 and d2 from a background pixel to the nearest pixels of the two nearest objects, the gap there is
    d1 + d2 - 1 pixels wide. Where that is at most gap + 1/2 (a gap of one pixel is sqrt(2) wide where it runs across
    the grid), the pixel goes to the nearer object, on a tie to the one of the smaller id.

    Args:
        mask: [H, W], bool or whole numbers; what is above 0 is an object.
        gap: widest gap in pixels to be filled, from 0 (none); 1 by default, the gap that training cuts.
        min_size: pieces of fewer pixels are dropped, holes filled but neither grown nor gaps filled; 0 by default drops
            none.
        fill_holes: fill background that one object encloses; False by default.
        seeds: [H, W], bool or whole numbers; what is above 0 here and in the mask is a seed. Default: all of the mask.

    Returns:
        [H, W] int32: 0 background, ids 1, 2, ... in the order of the first pixel of each object, row by row.

    Raises:
        ValueError: mask or seeds have another shape, or a number is negative.
    """
    array = np.asarray(mask)
    if array.ndim != 2:
        raise ValueError(f"label_instances: mask: wanted shape [H, W], got {list(array.shape)}")
    if gap < 0 or min_size < 0:
        raise ValueError(f"label_instances: wanted gap and min_size from 0, got {gap} and {min_size}")
    if seeds is not None and np.shape(seeds) != array.shape:
        raise ValueError(f"label_instances: seeds: wanted shape {list(array.shape)}, got {list(np.shape(seeds))}")
    if array.size == 0:
        return np.zeros(array.shape, dtype=np.int32)
    foreground = array > 0
    sure = foreground if seeds is None else foreground & (np.asarray(seeds) > 0)
    numbered, _ = ndimage.label(sure)
    instances: Instances = np.asarray(numbered, dtype=np.int32)
    if fill_holes:
        _fill_holes(instances)
    if min_size > 1:
        kept = np.bincount(instances.ravel()) >= min_size
        kept[0] = False
        instances = np.where(kept, np.cumsum(kept), 0).astype(np.int32)[instances]
    if seeds is not None:
        grow(instances, foreground)
    if gap:
        fill_gaps(instances, gap)
    return instances


def _fill_holes(instances: Instances) -> None:
    """Give each background region that meets a single object, and not the image border, to that object."""
    numbered, count = ndimage.label(instances == 0, _EIGHT_CONNECTED)
    if count == 0:
        return
    regions = np.asarray(numbered)
    lowest, highest = np.full(count + 1, np.iinfo(np.int32).max), np.zeros(count + 1, dtype=np.int64)
    for here, there in (
        (np.s_[1:], np.s_[:-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        meet = (regions[here] > 0) & (instances[there] > 0)
        np.minimum.at(lowest, regions[here][meet], instances[there][meet])
        np.maximum.at(highest, regions[here][meet], instances[there][meet])
    owner = np.where(lowest == highest, highest, 0)
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        owner[edge] = 0
    owner[0] = 0
    instances += owner[regions].astype(np.int32)


def grow(instances: Instances, foreground: NDArray[np.bool_]) -> None:
    """Let objects grow over the foreground, in place; see `label_instances`. Beyond REACH steps nothing matters."""
    padded = np.pad(instances, 1)
    y, x = np.nonzero(foreground & (instances == 0))
    for step in range(REACH):
        neighbours = _AROUND if step % 2 else _STRAIGHT
        found = np.stack([padded[y + 1 + dy, x + 1 + dx] for dy, dx in neighbours])
        nearest = np.where(found > 0, found, np.iinfo(np.int32).max).min(0)
        reached = found.any(0)
        padded[y[reached] + 1, x[reached] + 1] = nearest[reached]
        y, x = y[~reached], x[~reached]
    instances[:] = padded[1:-1, 1:-1]


def fill_gaps(instances: Instances, gap: int) -> None:
    """Assign the background pixels in narrow gaps, in place; see `label_instances`.

    Only those are visited that have an object within `gap` steps: what lies farther away does not matter.
    """
    near = ndimage.maximum_filter(instances, 2 * gap + 1, mode="constant") > 0
    y, x = np.nonzero(near & (instances == 0))
    padded = np.pad(instances, gap)
    span = range(-gap, gap + 1)
    steps = [(float(np.hypot(dy, dx)), padded[y + gap + dy, x + gap + dx]) for dy in span for dx in span]

    nearest = np.zeros(y.size, dtype=np.int32)
    first, second = np.full(y.size, np.inf), np.full(y.size, np.inf)  # d1 and d2
    for distance, found in steps:
        better = (found > 0) & ((distance < first) | ((distance == first) & (found < nearest)))
        nearest[better], first[better] = found[better], distance
    for distance, found in steps:
        other = (found > 0) & (found != nearest)
        second[other] = np.minimum(second[other], distance)
    filled = first + second - 1 <= gap + 0.5
    instances[y[filled], x[filled]] = nearest[filled]
