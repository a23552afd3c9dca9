"""Warping error: topological mistakes alone (Jain et al. 2010; table 1 of the paper).

The truth is warped towards the proposal without changing its topology (`unet_fast.ops.warping_error`); what remains
different is an error. The challenge counts only the pixels that merge or split cells.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from unet_fast import ops
from unet_fast.metrics.slices import Images, Slice, slices_of

WarpingVariant: TypeAlias = Literal["splits_and_merges", "classic"]

# In the order of their numbers in a map of types, from 1.
ERROR_TYPES = ("merge", "split", "hole_addition", "hole_deletion", "object_addition", "object_deletion")
WARPING_THRESHOLDS = tuple(step / 10 for step in range(10))  # of the challenge's script: without 1


@dataclass(frozen=True)
class WarpingScores:
    """Pixels that no warping explains, at each threshold; those of several slices can be added.

    Attributes:
        thresholds: S of them.
        counts: S times the number of pixels of each of `ERROR_TYPES`.
        pixels: all pixels of the slices.
    """

    thresholds: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    pixels: int

    def __add__(self, other: "WarpingScores") -> "WarpingScores":
        if self.thresholds != other.thresholds:
            raise ValueError("WarpingScores: wanted the same thresholds")
        sums = np.add(self.counts, other.counts).tolist()
        return replace(self, counts=tuple(map(tuple, sums)), pixels=self.pixels + other.pixels)

    @property
    def splits_and_merges(self) -> tuple[float, ...]:
        """Pixels that merge or split, over all pixels, at each threshold."""
        return tuple((count[0] + count[1]) / max(self.pixels, 1) for count in self.counts)

    @property
    def classic(self) -> tuple[float, ...]:
        """All residual pixels over all pixels, at each threshold."""
        return tuple(sum(count) / max(self.pixels, 1) for count in self.counts)

    @property
    def error(self) -> float:
        """The challenge's value: the least share of pixels that merge or split."""
        return min(self.splits_and_merges)

    @property
    def threshold(self) -> float:
        """The lowest threshold with that value."""
        return self.thresholds[self.splits_and_merges.index(self.error)]


@dataclass(frozen=True)
class WarpingMaps:
    """Where the errors are at one threshold.

    Attributes:
        types: [Z, H, W] uint8, number of the error's type in `ERROR_TYPES` from 1; 0 elsewhere.
        warped: [Z, H, W] bool, the warped truth.
    """

    types: NDArray[np.uint8]
    warped: NDArray[np.bool_]


def warping_error(
    truth: Images,
    probability: Images,
    thresholds: Sequence[float] = WARPING_THRESHOLDS,
    variant: WarpingVariant = "splits_and_merges",
    mask_radius: float | None = None,
    radius: int = 20,
) -> float:
    """Return the warping error: the share of pixels at which the topology differs.

    Args:
        truth: [H, W], [Z, H, W] or a sequence of [H, W]; > 0 is interior.
        probability: of interior, in the same form: float in [0, 1], or 8 or 16 bits (255 or 65535 is 1), or a mask.
        thresholds: interior is where the probability is greater; default 0, 0.1, ... 0.9 as in the challenge.
        variant: "splits_and_merges" is the challenge's: pixels that merge or split cells (default); "classic" counts
            every pixel that differs after warping (Jain et al.).
        mask_radius: cells may shrink by this many pixels at most (Euclidean distance to the membrane of the truth), and
            what lies deeper is neither warped nor counted; Jain et al. used 5. None (default, as in Fiji): no limit.
        radius: of the window in which a split is told from a hole, pixels; default 20, as in Fiji. -1 is the image.

    Returns:
        The least error over thresholds. Slices are summed before the division.

    Raises:
        ValueError: the shapes differ, or a probability lies outside [0, 1].
    """
    if variant not in ("splits_and_merges", "classic"):
        raise ValueError(f"warping_error: variant: wanted splits_and_merges or classic, got {variant}")
    scores = warping_scores(truth, probability, thresholds, mask_radius, radius)
    return scores.error if variant == "splits_and_merges" else min(scores.classic)


def warping_scores(
    truth: Images,
    probability: Images,
    thresholds: Sequence[float] = WARPING_THRESHOLDS,
    mask_radius: float | None = None,
    radius: int = 20,
) -> WarpingScores:
    """Return what `warping_error` is made of, threshold by threshold; the arguments are its."""
    slices = slices_of("warping_error", truth, probability)
    if not slices or not thresholds:
        raise ValueError(f"warping_error: wanted slices and thresholds, got {len(slices)} and {len(thresholds)}")
    counts = np.zeros((len(thresholds), len(ERROR_TYPES)), dtype=np.int64)
    for batch in _batches(slices):
        counts += _warp(batch, thresholds, mask_radius, radius, maps=False).counts.sum(0).numpy()
    pixels = sum(interior.size for interior, _ in slices)
    return WarpingScores(tuple(thresholds), tuple(map(tuple, counts.tolist())), pixels)


def warping_maps(
    truth: Images, probability: Images, threshold: float, mask_radius: float | None = None, radius: int = 20
) -> WarpingMaps:
    """Return where the errors are at one threshold; the other arguments are those of `warping_error`.

    Args:
        truth: [H, W] or [Z, H, W].
        probability: the same shape.
        threshold: interior is where the probability is greater.
        mask_radius: see `warping_error`.
        radius: see `warping_error`.
    """
    slices = slices_of("warping_error", truth, probability)
    result = _warp(slices, [threshold], mask_radius, radius, maps=True)
    return WarpingMaps(result.residual[:, 0].numpy(), result.warped[:, 0].numpy() > 0)


def _batches(slices: list[Slice]) -> Iterator[list[Slice]]:
    """Yield all slices at once where they have one size, so that they are warped in parallel; else one by one."""
    if len({interior.shape for interior, _ in slices}) == 1:
        yield slices
    else:
        yield from ([one] for one in slices)


def _warp(
    slices: list[Slice], thresholds: Sequence[float], mask_radius: float | None, radius: int, *, maps: bool
) -> ops.WarpingErrors:
    truth = np.stack([interior for interior, _ in slices])
    probability = np.stack([chance for _, chance in slices])
    mask = None if mask_radius is None else torch.from_numpy(np.stack([_near_membrane(t, mask_radius) for t in truth]))
    levels = torch.tensor(list(thresholds), dtype=torch.float32)
    return ops.warping_error(
        torch.from_numpy(truth), torch.from_numpy(probability), levels, mask=mask, radius=radius, maps=maps
    )


def _near_membrane(interior: NDArray[np.bool_], mask_radius: float) -> NDArray[np.bool_]:
    if interior.all():
        return np.zeros_like(interior)
    near: NDArray[np.bool_] = ndimage.distance_transform_edt(interior) <= mask_radius
    return near
