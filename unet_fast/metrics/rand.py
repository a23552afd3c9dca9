"""Rand error: pairs of pixels that share a cell in the truth but not in the proposal, or the reverse (paper, table 1).

With n_ij pixels in component i of the truth and j of the proposal (4-connected, 0 = membrane), sums over i, j >= 1:

    variant       both (SAB)           truth (SA)               proposal (SB)
    n2            sum n_ij^2 + m       sum_i (sum_j>=0 n_ij)^2  sum_j (sum_i n_ij)^2 + m
    n_choose_2    the same with n (n - 1) in place of n^2, and without m
    classic       as n_choose_2, the membrane being one more object (i, j >= 0)

m = sum_i n_i0 are the interior pixels that the proposal calls membrane: in n2 each of them is an object of its own.
F = 2 SAB / (SA + SB) is the harmonic mean of precision SAB/SB and recall SAB/SA; the classic Rand index is
1 - (SA + SB - 2 SAB) / pairs. Slices are summed before the division; the error is 1 - the maximum over thresholds.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_fast.metrics.overlaps import Overlaps, count_overlaps
from unet_fast.metrics.slices import THRESHOLDS, Images, slices_of

RandVariant: TypeAlias = Literal["n2", "n_choose_2", "classic"]
_VARIANTS = ("n2", "n_choose_2", "classic")


@dataclass(frozen=True)
class RandScores:
    """The sums that Rand scores are made of, at each threshold; those of several slices can be added.

    Attributes:
        variant: see `rand_error`.
        thresholds: S of them.
        both: S sums over pairs of pixels that are together in truth and proposal.
        truth: S sums over those together in the truth.
        proposal: S sums over those together in the proposal.
        pairs: all pairs of pixels.
    """

    variant: RandVariant
    thresholds: tuple[float, ...]
    both: tuple[int, ...]
    truth: tuple[int, ...]
    proposal: tuple[int, ...]
    pairs: int

    def __add__(self, other: "RandScores") -> "RandScores":
        if (self.variant, self.thresholds) != (other.variant, other.thresholds):
            raise ValueError("RandScores: wanted the same variant and thresholds")
        return replace(
            self,
            both=tuple(a + b for a, b in zip(self.both, other.both, strict=True)),
            truth=tuple(a + b for a, b in zip(self.truth, other.truth, strict=True)),
            proposal=tuple(a + b for a, b in zip(self.proposal, other.proposal, strict=True)),
            pairs=self.pairs + other.pairs,
        )

    @property
    def precision(self) -> tuple[float, ...]:
        """SAB / SB at each threshold, 1 where nothing is together in the proposal: low where cells are merged."""
        return tuple(both / one if one else 1.0 for both, one in zip(self.both, self.proposal, strict=True))

    @property
    def recall(self) -> tuple[float, ...]:
        """SAB / SA at each threshold, 1 where nothing is together in the truth: low where cells are split."""
        return tuple(both / one if one else 1.0 for both, one in zip(self.both, self.truth, strict=True))

    @property
    def score(self) -> tuple[float, ...]:
        """F at each threshold; the Rand index for the classic variant."""
        sums = zip(self.both, self.truth, self.proposal, strict=True)
        if self.variant == "classic":
            return tuple(1 - (a + b - 2 * both) / max(self.pairs, 1) for both, a, b in sums)
        return tuple(2 * both / (a + b) if a + b else 1.0 for both, a, b in sums)

    @property
    def error(self) -> float:
        """1 - the best score."""
        return 1 - max(self.score)

    @property
    def threshold(self) -> float:
        """The lowest threshold with the best score."""
        return self.thresholds[self.score.index(max(self.score))]


def rand_error(
    truth: Images,
    probability: Images,
    thresholds: Sequence[float] = THRESHOLDS,
    variant: RandVariant = "n2",
) -> float:
    """Return the Rand error of a segmentation into cells, from 0 (the same cells) to 1.

    Args:
        truth: [H, W], [Z, H, W] or a sequence of [H, W]; > 0 is interior. The slices count for as many pairs as they
            hold (micro average).
        probability: of interior, in the same form: float in [0, 1], or 8 or 16 bits (255 or 65535 is 1), or a mask.
        thresholds: interior is where the probability is greater; default 0, 0.1, ... 1 as in the challenge.
        variant: "n2" is the challenge's (foreground-restricted; default), "n_choose_2" its older form (the adapted Rand
            error), "classic" counts the membrane as an object.

    Returns:
        1 - the best score over thresholds.

    Raises:
        ValueError: the shapes differ, or a probability lies outside [0, 1].
    """
    return rand_scores(truth, probability, thresholds, variant).error


def rand_scores(
    truth: Images,
    probability: Images,
    thresholds: Sequence[float] = THRESHOLDS,
    variant: RandVariant = "n2",
) -> RandScores:
    """Return what `rand_error` is made of, threshold by threshold; the arguments are its."""
    slices = slices_of("rand_error", truth, probability)
    if variant not in _VARIANTS or not slices or not thresholds:
        raise ValueError(
            f"rand_error: wanted a slice, a threshold and one of {', '.join(_VARIANTS)}, "
            f"got {len(slices)} slices, {len(thresholds)} thresholds and {variant}"
        )
    total: RandScores = functools.reduce(operator.add, (_scores_of(*one, thresholds, variant) for one in slices))
    return total


def vrand_thinned(truth: Images, probability: Images, thresholds: Sequence[float] = THRESHOLDS) -> float:
    """Return V_Rand after border thinning, the challenge's score after 2015: from 0 to 1, the best.

    The n2 score of the proposal whose membranes are thinned to lines of one pixel (see `thin`), averaged over the
    slices, at the best threshold: thick membranes cost nothing. The arguments are those of `rand_error`.
    """
    slices = slices_of("vrand_thinned", truth, probability)
    if not slices or not thresholds:
        raise ValueError(f"vrand_thinned: wanted slices and thresholds, got {len(slices)} and {len(thresholds)}")
    return float(np.mean([vrand_of_slice(*one, thresholds) for one in slices], axis=0).max())


def vrand_of_slice(
    interior: NDArray[np.bool_], probability: NDArray[np.float32], thresholds: Sequence[float] = THRESHOLDS
) -> tuple[float, ...]:
    """Return V_Rand of one slice [H, W] after thinning, at each threshold."""
    return _scores_of(interior, probability, thresholds, "n2", thin).score


def thin(interior: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Grow the cells of a mask into its membranes until lines of one pixel are left between them.

    The watershed of the mask: all cells grow at the same pace, pixel by pixel to their 4-neighbours. A pixel that two
    cells reach at once becomes line; of two neighbours that two cells reach at once, that of the later cell does.

    Args:
        interior: [H, W].

    Returns:
        [H, W] ids of cells from 1, 0 on the lines; all 0 where there is no cell.
    """
    cells = np.pad(_components(interior), 1)
    free = np.pad(~interior, 1, constant_values=False)  # neither reached nor outside
    steps = np.array([-cells.shape[1], -1, 1, cells.shape[1]])
    labels, unreached = cells.ravel(), free.ravel()
    last = np.empty(labels.shape, dtype=np.intp)
    reached = np.flatnonzero(labels)
    while reached.size:
        around = (reached[:, None] + steps).ravel()
        around = around[unreached[around]]
        place = np.arange(around.size)
        last[around] = place
        front = around[last[around] == place]  # each pixel once
        unreached[front] = False
        near = labels[front[:, None] + steps]
        highest = near.max(axis=1, initial=0)
        lowest = np.where(near > 0, near, highest[:, None]).min(axis=1, initial=np.iinfo(np.int32).max)
        reached = front[highest == lowest]
        labels[reached] = highest[highest == lowest]
        near = labels[reached[:, None] + steps]
        yields = ((near > 0) & (near < labels[reached, None])).any(axis=1)
        labels[reached[yields]] = 0
        reached = reached[~yields]
    return cells[1:-1, 1:-1]


def _components(interior: NDArray[np.bool_]) -> NDArray[np.int32]:
    numbered, _ = ndimage.label(interior)
    return np.asarray(numbered, dtype=np.int32)


def _scores_of(
    interior: NDArray[np.bool_],
    probability: NDArray[np.float32],
    thresholds: Sequence[float],
    variant: RandVariant,
    cells_of: Callable[[NDArray[np.bool_]], NDArray[np.int32]] = _components,
) -> RandScores:
    """Score one slice whose proposal is cut into cells by `cells_of`."""
    cells = _components(interior)
    sums = [_sums(count_overlaps(cells, cells_of(probability > np.float32(t))), variant) for t in thresholds]
    both, truth, proposal = zip(*sums, strict=True)
    return RandScores(variant, tuple(thresholds), both, truth, proposal, interior.size * (interior.size - 1))


def _sums(overlaps: Overlaps, variant: RandVariant) -> tuple[int, int, int]:
    """Return SAB, SA and SB."""
    if variant == "classic":
        counts = (overlaps.pixels, overlaps.sizes_of_first(), overlaps.sizes_of_second())
    else:
        in_cell = overlaps.first > 0
        in_both = in_cell & (overlaps.second > 0)
        proposal = np.bincount(overlaps.second[in_both], overlaps.pixels[in_both]).astype(np.int64)
        counts = (overlaps.pixels[in_both], overlaps.sizes_of_first()[1:], proposal)
    if variant != "n2":
        both, first, second = (int((n * (n - 1)).sum()) for n in counts)
        return both, first, second
    both, first, second = (int((n * n).sum()) for n in counts)
    alone = int(overlaps.pixels[in_cell & (overlaps.second == 0)].sum())
    return both + alone, first, second + alone
