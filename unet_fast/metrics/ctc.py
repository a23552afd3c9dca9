"""Scores of segmented cells: the Cell Tracking Challenge's SEG (the paper's "IOU", table 2), IoU, Dice, F1 and AP.

Truth and labels are label images [H, W] (0 background, one number per cell), stacks [T, H, W] of frames, or sequences
of images. A cell is compared with the cells of its own frame, and counts are summed over frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from unet_fast.metrics.overlaps import count_overlaps
from unet_fast.metrics.slices import Images, images_of

AP_THRESHOLDS = tuple(step / 100 for step in range(50, 100, 5))  # 0.5, 0.55, ... 0.95


@dataclass(frozen=True)
class Matches:
    """Objects found, invented and missed at each IoU threshold; those of several images can be added.

    Attributes:
        thresholds: S of them.
        hits: pairs of one object of the truth and one of the labels whose IoU reaches the threshold, S counts.
        false: objects of the labels without partner.
        missed: objects of the truth without partner.
    """

    thresholds: tuple[float, ...]
    hits: tuple[int, ...]
    false: tuple[int, ...]
    missed: tuple[int, ...]

    def __add__(self, other: "Matches") -> "Matches":
        if self.thresholds != other.thresholds:
            raise ValueError("Matches: wanted the same thresholds")
        return replace(
            self,
            hits=tuple(a + b for a, b in zip(self.hits, other.hits, strict=True)),
            false=tuple(a + b for a, b in zip(self.false, other.false, strict=True)),
            missed=tuple(a + b for a, b in zip(self.missed, other.missed, strict=True)),
        )

    @property
    def precision(self) -> tuple[float, ...]:
        """Hits over objects of the labels; 1 where there are none."""
        return tuple(hit / (hit + a) if hit + a else 1.0 for hit, a in zip(self.hits, self.false, strict=True))

    @property
    def recall(self) -> tuple[float, ...]:
        """Hits over objects of the truth; 1 where there are none."""
        return tuple(hit / (hit + b) if hit + b else 1.0 for hit, b in zip(self.hits, self.missed, strict=True))

    @property
    def f1(self) -> tuple[float, ...]:
        """2 TP / (2 TP + FP + FN); 1 where there are no objects at all."""
        counts = zip(self.hits, self.false, self.missed, strict=True)
        return tuple(2 * hit / (2 * hit + a + b) if hit + a + b else 1.0 for hit, a, b in counts)

    @property
    def average_precision(self) -> tuple[float, ...]:
        """TP / (TP + FP + FN), which StarDist calls accuracy and cellpose AP; 1 where there are no objects at all."""
        counts = zip(self.hits, self.false, self.missed, strict=True)
        return tuple(hit / (hit + a + b) if hit + a + b else 1.0 for hit, a, b in counts)


def seg(truth: Images, labels: Images) -> float:
    """Return SEG, the mean Jaccard index of all reference cells, from 0 to 1.

    A reference R is matched by the label S that covers more than half of it, |R ∩ S| > |R| / 2: there is one at most.
    It counts |R ∩ S| / |R ∪ S|, or 0 where there is none. The mean is over all reference cells of all frames; false
    positives cost nothing.

    Args:
        truth: [H, W], [T, H, W] or a sequence of [H, W] of whole numbers.
        labels: the same form.

    Raises:
        ValueError: the shapes differ, or the truth holds no cell.
    """
    frames = _frames("seg", truth, labels)
    jaccards = np.concatenate([np.zeros(0), *(reference_jaccards(*frame) for frame in frames)])
    if jaccards.size == 0:
        raise ValueError("seg: truth: wanted at least one cell, got none")
    return float(jaccards.mean())


def reference_jaccards(truth: NDArray[np.integer], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the Jaccard index of each reference cell of one frame, in the order of their numbers; 0 if unmatched.

    Args:
        truth: [H, W] whole numbers from 0.
        labels: the same shape.
    """
    overlaps = count_overlaps(truth, labels)
    references, found = overlaps.sizes_of_first(), overlaps.sizes_of_second()
    matched = (overlaps.first > 0) & (overlaps.second > 0) & (2 * overlaps.pixels > references[overlaps.first])
    first, second, both = overlaps.first[matched], overlaps.second[matched], overlaps.pixels[matched]
    jaccards = np.zeros(len(references))
    jaccards[first] = both / (references[first] + found[second] - both)
    present = references > 0
    present[0] = False
    return jaccards[present]


def iou(truth: Images, labels: Images) -> float:
    """Return intersection over union of the foreground (> 0), summed over frames; 1 where both are empty."""
    both, first, second = _foreground("iou", truth, labels)
    return both / (first + second - both) if first + second else 1.0


def dice(truth: Images, labels: Images) -> float:
    """Return the Dice coefficient of the foreground (> 0), summed over frames; 1 where both are empty."""
    both, first, second = _foreground("dice", truth, labels)
    return 2 * both / (first + second) if first + second else 1.0


def match_at_iou(truth: Images, labels: Images, thresholds: Sequence[float] = (0.5,)) -> Matches:
    """Pair objects of truth and labels whose IoU is at least a threshold, as many as possible, each in one pair.

    The rule of StarDist's `matching` and cellpose's `average_precision`.

    Args:
        truth: [H, W], [T, H, W] or a sequence of [H, W] of whole numbers.
        labels: the same form.
        thresholds: of intersection over union, above 0 and up to 1.

    Raises:
        ValueError: the shapes differ, or a threshold lies outside its range.
    """
    if not all(0 < threshold <= 1 for threshold in thresholds):
        raise ValueError(f"match_at_iou: thresholds: wanted above 0 and up to 1, got {tuple(thresholds)}")
    counts = np.zeros((3, len(thresholds)), dtype=np.int64)
    for one, other in _frames("match_at_iou", truth, labels):
        overlaps = count_overlaps(one, other)
        first_sizes, second_sizes = overlaps.sizes_of_first(), overlaps.sizes_of_second()
        objects = (overlaps.first > 0) & (overlaps.second > 0)
        first, second, both = overlaps.first[objects], overlaps.second[objects], overlaps.pixels[objects]
        ious = both / (first_sizes[first] + second_sizes[second] - both)
        for index, threshold in enumerate(thresholds):
            pair = ious >= threshold
            shape = (len(first_sizes), len(second_sizes))
            graph = sparse.csr_array((np.ones(pair.sum()), (first[pair], second[pair])), shape=shape)
            partners = sparse.csgraph.maximum_bipartite_matching(graph, perm_type="column")
            hits = np.count_nonzero(partners >= 0)
            false, missed = (np.count_nonzero(sizes[1:]) - hits for sizes in (second_sizes, first_sizes))
            counts[:, index] += (hits, false, missed)
    return Matches(tuple(thresholds), *(tuple(count) for count in counts.tolist()))


def f1_at_iou(truth: Images, labels: Images, thresholds: Sequence[float] = (0.5,)) -> tuple[float, ...]:
    """Return F1 = 2 TP / (2 TP + FP + FN) at each IoU threshold; the arguments are those of `match_at_iou`."""
    return match_at_iou(truth, labels, thresholds).f1


def average_precision(truth: Images, labels: Images, thresholds: Sequence[float] = AP_THRESHOLDS) -> tuple[float, ...]:
    """Return AP = TP / (TP + FP + FN) at each IoU threshold; the arguments are those of `match_at_iou`."""
    return match_at_iou(truth, labels, thresholds).average_precision


def _frames(function: str, truth: Images, labels: Images) -> list[tuple[NDArray[np.integer], NDArray[np.integer]]]:
    truths, found = images_of(truth), images_of(labels)
    if len(truths) != len(found):
        raise ValueError(f"{function}: labels: wanted {len(truths)} frames as in truth, got {len(found)}")
    for index, (one, other) in enumerate(zip(truths, found, strict=True)):
        if one.ndim != 2 or one.shape != other.shape:
            raise ValueError(
                f"{function}: labels: wanted the shape [H, W] of truth, {list(one.shape)}, "
                f"got {list(other.shape)} in frame {index}"
            )
        for name, image in (("truth", one), ("labels", other)):
            if image.dtype.kind not in "bui" or (image.size and image.min() < 0):
                raise ValueError(f"{function}: {name}: wanted whole numbers from 0, got {image.dtype.name}")
    return [(_few_numbers(one), _few_numbers(other)) for one, other in zip(truths, found, strict=True)]


def _few_numbers(image: NDArray[np.integer]) -> NDArray[np.integer]:
    """Renumber objects whose numbers exceed those that the pixels could use up, in their order."""
    if image.size == 0 or image.max() <= image.size:
        return image
    numbers = np.unique(image[image > 0])
    return np.where(image > 0, np.searchsorted(numbers, image) + 1, 0)


def _foreground(function: str, truth: Images, labels: Images) -> tuple[int, int, int]:
    """Return the foreground pixels of both, of the truth and of the labels."""
    frames = [(one > 0, other > 0) for one, other in _frames(function, truth, labels)]
    both = sum(int((one & other).sum()) for one, other in frames)
    return both, sum(int(one.sum()) for one, _ in frames), sum(int(other.sum()) for _, other in frames)
