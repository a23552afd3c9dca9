"""What the measures of the ISBI 2012 challenge compare: slices of truth and of a probability of interior."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = NDArray[Any] | Sequence[NDArray[Any]]
Slice: TypeAlias = tuple[NDArray[np.bool_], NDArray[np.float32]]

THRESHOLDS = tuple(step / 10 for step in range(11))  # of the challenge's script


def images_of(images: Images) -> list[NDArray[Any]]:
    """Return the images [H, W] of one image [H, W], a stack [Z, H, W] or a sequence of images."""
    if isinstance(images, np.ndarray):
        return [images] if images.ndim == 2 else list(images)
    return [np.asarray(image) for image in images]


def slices_of(function: str, truth: Images, probability: Images) -> list[Slice]:
    """Check truth and probability and return their slices, each [H, W]: interior, and its probability in [0, 1].

    The probability may be stored as it comes out of the network (float), or as 8 or 16 bits: 255 or 65535 is 1.
    Booleans, and whole numbers none of which is above 1, are a mask.

    Args:
        function: the name that messages begin with.
        truth: [H, W], [Z, H, W] or a sequence of [H, W], > 0 is interior.
        probability: of interior, in the same form.

    Raises:
        ValueError: the shapes differ, or a probability lies outside [0, 1].
    """
    truths, probabilities = images_of(truth), images_of(probability)
    if len(truths) != len(probabilities):
        raise ValueError(f"{function}: probability: wanted {len(truths)} slices as in truth, got {len(probabilities)}")
    for index, (one, other) in enumerate(zip(truths, probabilities, strict=True)):
        if one.ndim != 2 or one.shape != other.shape:
            wanted = f"the shape of truth {list(one.shape)}" if one.ndim == 2 else "slices [H, W]"
            got = other.shape if one.ndim == 2 else one.shape
            raise ValueError(f"{function}: probability: wanted {wanted}, got {list(got)} in slice {index}")
    scale = _scale(function, probabilities)
    return [
        (one > 0, other.astype(np.float32) / np.float32(scale))
        for one, other in zip(truths, probabilities, strict=True)
    ]


def _scale(function: str, probabilities: list[NDArray[Any]]) -> float:
    """Return the value that means 1."""
    pixels = [image for image in probabilities if image.size]
    if not pixels:
        return 1
    low, high = min(image.min() for image in pixels), max(image.max() for image in pixels)
    dtypes = {image.dtype for image in pixels}
    scale = 1
    if high > 1 and dtypes <= {np.dtype(np.uint8), np.dtype(np.uint16)}:
        scale = max(int(np.iinfo(dtype).max) for dtype in dtypes)
    if not (low >= 0 and high <= scale):  # also where one is nan
        kinds = ", ".join(sorted(dtype.name for dtype in dtypes))
        raise ValueError(f"{function}: probability: wanted 0..1 (uint8: 0..255), got {kinds} in {low}..{high}")
    return scale
