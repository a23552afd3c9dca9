"""Pixels counted by true and predicted class, and the scores that follow from the counts."""

import numpy as np
from numpy.typing import NDArray


class Confusion:
    """Counts of pixels, [K true, K predicted], summed over images.

    Args:
        classes: K, background included.
    """

    def __init__(self, classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((classes, classes), dtype=np.int64)

    def add(self, truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> None:
        """Count one image: two maps [H, W] of class numbers; pixels whose truth is negative are ignored.

        Raises:
            ValueError: the maps differ in shape.
        """
        if truth.shape != prediction.shape:
            raise ValueError(f"prediction: wanted the shape of truth {truth.shape}, got {prediction.shape}")
        valid = truth >= 0
        pairs = truth[valid].astype(np.int64) * len(self.counts) + prediction[valid]
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    def pixel_error(self) -> float:
        """Return the fraction of wrong pixels in [0, 1]."""
        return 1 - float(np.trace(self.counts) / max(self.counts.sum(), 1))

    def iou(self) -> NDArray[np.float64]:
        """Return intersection over union of each class, [K] in [0, 1]; NaN where a class is in neither map."""
        both = np.diag(self.counts)
        either = self.counts.sum(0) + self.counts.sum(1) - both
        iou: NDArray[np.float64] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
        return iou

    def foreground_iou(self) -> float:
        """Return the mean IoU of the classes other than background that occur; 1 where none does."""
        iou = self.iou()[1:]
        return 1.0 if np.isnan(iou).all() else float(np.nanmean(iou))
