"""Pixel error: how many pixels are on the wrong side (table 1 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from unet_fast.metrics.slices import THRESHOLDS, Images, slices_of

PixelVariant: TypeAlias = Literal["f_score", "mismatch"]


@dataclass(frozen=True)
class PixelScores:
    """Counts of pixels at each threshold; those of several slices can be added.

    Attributes:
        thresholds: S of them.
        hits: interior in truth and proposal, S counts.
        false: interior in the proposal alone.
        missed: interior in the truth alone.
        pixels: all of them.
    """

    thresholds: tuple[float, ...]
    hits: tuple[int, ...]
    false: tuple[int, ...]
    missed: tuple[int, ...]
    pixels: int

    def __add__(self, other: "PixelScores") -> "PixelScores":
        if self.thresholds != other.thresholds:
            raise ValueError("PixelScores: wanted the same thresholds")
        return replace(
            self,
            hits=tuple(a + b for a, b in zip(self.hits, other.hits, strict=True)),
            false=tuple(a + b for a, b in zip(self.false, other.false, strict=True)),
            missed=tuple(a + b for a, b in zip(self.missed, other.missed, strict=True)),
            pixels=self.pixels + other.pixels,
        )

    @property
    def f_score(self) -> tuple[float, ...]:
        """2 hits / (2 hits + false + missed) at each threshold; 1 where all three are 0."""
        counts = zip(self.hits, self.false, self.missed, strict=True)
        return tuple(2 * hit / (2 * hit + a + b) if hit + a + b else 1.0 for hit, a, b in counts)

    @property
    def mismatch(self) -> tuple[float, ...]:
        """The fraction of wrong pixels at each threshold."""
        return tuple((a + b) / max(self.pixels, 1) for a, b in zip(self.false, self.missed, strict=True))

    @property
    def error(self) -> float:
        """1 - the best F score."""
        return 1 - max(self.f_score)

    @property
    def threshold(self) -> float:
        """The lowest threshold with the best F score."""
        return self.thresholds[self.f_score.index(max(self.f_score))]


def pixel_error(
    truth: Images,
    probability: Images,
    thresholds: Sequence[float] = THRESHOLDS,
    variant: PixelVariant = "f_score",
) -> float:
    """Return the pixel error, from 0 to 1.

    Args:
        truth: [H, W], [Z, H, W] or a sequence of [H, W]; > 0 is interior.
        probability: of interior, in the same form: float in [0, 1], or 8 or 16 bits (255 or 65535 is 1), or a mask.
        thresholds: interior is where the probability is greater; default 0, 0.1, ... 1 as in the challenge.
        variant: "f_score" is the challenge's: 1 - F of the interior, summed over slices (default); "mismatch" is the
            fraction of wrong pixels.

    Returns:
        The least error over thresholds.

    Raises:
        ValueError: the shapes differ, or a probability lies outside [0, 1].
    """
    scores = pixel_scores(truth, probability, thresholds)
    if variant not in ("f_score", "mismatch"):
        raise ValueError(f"pixel_error: variant: wanted f_score or mismatch, got {variant}")
    return scores.error if variant == "f_score" else min(scores.mismatch)


def pixel_scores(truth: Images, probability: Images, thresholds: Sequence[float] = THRESHOLDS) -> PixelScores:
    """Return what `pixel_error` is made of, threshold by threshold; the arguments are its."""
    slices = slices_of("pixel_error", truth, probability)
    if not slices or not thresholds:
        raise ValueError(f"pixel_error: wanted slices and thresholds, got {len(slices)} and {len(thresholds)}")
    hits, false, missed = (np.zeros(len(thresholds), dtype=np.int64) for _ in range(3))
    for interior, chance in slices:
        for index, threshold in enumerate(thresholds):
            proposed = chance > np.float32(threshold)
            both = np.count_nonzero(proposed & interior)
            hits[index] += both
            false[index] += np.count_nonzero(proposed) - both
            missed[index] += np.count_nonzero(interior) - both
    pixels = sum(interior.size for interior, _ in slices)
    return PixelScores(tuple(thresholds), tuple(hits.tolist()), tuple(false.tolist()), tuple(missed.tolist()), pixels)
