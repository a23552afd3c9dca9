"""The measures of the ISBI 2012 challenge (table 1 of the paper): warping error, Rand error, pixel error.

Each `*_error` returns one number, the least over thresholds; `*_scores` the table behind it.
"""

from unet_fast.metrics.pixel import PixelScores, PixelVariant, pixel_error, pixel_scores
from unet_fast.metrics.rand import (
    RandScores,
    RandVariant,
    rand_error,
    rand_scores,
    thin,
    vrand_of_slice,
    vrand_thinned,
)
from unet_fast.metrics.slices import THRESHOLDS
from unet_fast.metrics.warping import (
    ERROR_TYPES,
    WARPING_THRESHOLDS,
    WarpingMaps,
    WarpingScores,
    WarpingVariant,
    warping_error,
    warping_maps,
    warping_scores,
)

__all__ = [
    "ERROR_TYPES",
    "THRESHOLDS",
    "WARPING_THRESHOLDS",
    "PixelScores",
    "PixelVariant",
    "RandScores",
    "RandVariant",
    "WarpingMaps",
    "WarpingScores",
    "WarpingVariant",
    "pixel_error",
    "pixel_scores",
    "rand_error",
    "rand_scores",
    "thin",
    "vrand_of_slice",
    "vrand_thinned",
    "warping_error",
    "warping_maps",
    "warping_scores",
]
