"""Scores of one image after the other, and of all of them together: sums first, then one division."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_fast.metrics import ctc, em
from unet_fast.metrics.confusion import Confusion
from unet_fast.scoring.reading import Compared, separated

Scores = dict[str, float]


class Tally(Protocol):
    """A family of scores."""

    def add(self, image: Compared) -> Scores:
        """Count one image and return its own scores."""

    def total(self) -> Scores:
        """Return the scores of all images together."""

    def tables(self) -> dict[str, Any]:
        """Return what the scores were read off, for machines."""


@dataclass
class Membranes:
    """The measures of the ISBI 2012 challenge, each at its best threshold."""

    pixel: em.PixelScores | None = None
    rand: em.RandScores | None = None
    warping: em.WarpingScores | None = None
    vrand: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, image: Compared) -> Scores:
        """Count one image and return its own scores."""
        interior, probability = separated(image.instances), image.probability
        pixel = em.pixel_scores(interior, probability)
        rand = em.rand_scores(interior, probability)
        warping = em.warping_scores(interior, probability)
        vrand = em.vrand_of_slice(interior, probability)
        self.pixel = pixel if self.pixel is None else self.pixel + pixel
        self.rand = rand if self.rand is None else self.rand + rand
        self.warping = warping if self.warping is None else self.warping + warping
        self.vrand.append(vrand)
        return _membrane_scores(pixel, rand, warping, vrand)

    def total(self) -> Scores:
        """Return the scores of all images together."""
        if self.pixel is None or self.rand is None or self.warping is None:
            return {}
        return _membrane_scores(self.pixel, self.rand, self.warping, tuple(np.mean(self.vrand, axis=0).tolist()))

    def tables(self) -> dict[str, Any]:
        """Return scores and counts at every threshold."""
        if self.pixel is None or self.rand is None or self.warping is None:
            return {}
        rand = self.rand
        return {
            "thresholds": rand.thresholds,
            "pixel_f_score": self.pixel.f_score,
            "pixel_mismatch": self.pixel.mismatch,
            "rand_precision": rand.precision,
            "rand_recall": rand.recall,
            "rand_f_score": rand.score,
            "vrand_thinned": np.mean(self.vrand, axis=0).tolist(),
            "warping_thresholds": self.warping.thresholds,
            "warping_error": self.warping.splits_and_merges,
            "warping_classic": self.warping.classic,
            "warping_counts": [dict(zip(em.ERROR_TYPES, one, strict=True)) for one in self.warping.counts],
        }


def _membrane_scores(
    pixel: em.PixelScores, rand: em.RandScores, warping: em.WarpingScores, vrand: tuple[float, ...]
) -> Scores:
    half = pixel.thresholds.index(0.5)
    return {
        "warping_error": warping.error,
        "rand_error": rand.error,
        "pixel_error": pixel.error,
        "vrand_thinned": max(vrand),
        "warping_classic": min(warping.classic),
        "wrong_pixels": pixel.mismatch[half],
        "foreground_iou": pixel.f_score[half] / (2 - pixel.f_score[half]),
        "foreground_dice": pixel.f_score[half],
    }


@dataclass
class Cells:
    """SEG and what else compares objects."""

    jaccards: list[NDArray[np.float64]] = field(default_factory=list)
    matches: ctc.Matches | None = None
    pixels: Confusion = field(default_factory=lambda: Confusion(2))

    def add(self, image: Compared) -> Scores:
        """Count one image and return its own scores; SEG is nan where the truth holds no cell."""
        jaccards = ctc.reference_jaccards(image.instances, image.labels)
        matches = ctc.match_at_iou(image.instances, image.labels, ctc.AP_THRESHOLDS)
        own = Cells([jaccards], matches)
        own.pixels.add(np.minimum(image.instances, 1), np.minimum(image.labels, 1))
        self.jaccards.append(jaccards)
        self.matches = matches if self.matches is None else self.matches + matches
        self.pixels.counts += own.pixels.counts
        return own.total()

    def total(self) -> Scores:
        """Return the scores of all images together."""
        if self.matches is None:
            return {}
        jaccards = np.concatenate(self.jaccards)
        (_, false), (missed, hits) = self.pixels.counts.tolist()
        union = hits + false + missed
        return {
            "seg": float(jaccards.mean()) if jaccards.size else float("nan"),
            "f1_50": self.matches.f1[0],
            "ap_50": self.matches.average_precision[0],
            "ap_50_95": float(np.mean(self.matches.average_precision)),
            "foreground_iou": hits / union if union else 1.0,
            "foreground_dice": 2 * hits / (union + hits) if union else 1.0,
            "wrong_pixels": self.pixels.pixel_error(),
        }

    def tables(self) -> dict[str, Any]:
        """Return counts of objects at every IoU threshold."""
        if self.matches is None:
            return {}
        matches = self.matches
        return {
            "iou_thresholds": matches.thresholds,
            "hits": matches.hits,
            "false": matches.false,
            "missed": matches.missed,
            "f1": matches.f1,
            "average_precision": matches.average_precision,
            "cells": int(sum(len(one) for one in self.jaccards)),
        }


class Classes:
    """Pixels by class."""

    def __init__(self, codes: tuple[int, ...]) -> None:
        self.codes = codes
        self.confusion = Confusion(len(codes))

    def add(self, image: Compared) -> Scores:
        """Count one image and return its own scores."""
        own = Confusion(len(self.codes))
        own.add(image.classes, image.found_classes)
        self.confusion.counts += own.counts
        return self._scores(own)

    def _scores(self, confusion: Confusion) -> Scores:
        iou = zip(self.codes, confusion.iou().tolist(), strict=True)
        return {
            "mean_iou": float(np.nanmean(confusion.iou())),
            "wrong_pixels": confusion.pixel_error(),
            **{f"iou_{code}": value for code, value in iou},
        }

    def total(self) -> Scores:
        """Return the scores of all images together."""
        return self._scores(self.confusion)

    def tables(self) -> dict[str, Any]:
        """Return the counts of pixels by true and predicted class."""
        return {"codes": self.codes, "confusion": self.confusion.counts.tolist()}
