"""What the values of label images mean: ids of objects, one mask, or classes; and the two maps they become.

Told over all label images of a set, because one image alone may hold a single object or miss a class:

    mask       at most two values, 0 and another (or nearly so: a mask that went through JPEG)
    classes    at most 32 values, most of which occur in an image in several separate pieces
    instances  everything else

An instance map has 0 for background and an id for each object; a class map has 0..K-1. Pixels that count for nothing
are `IGNORED` in the one and `IGNORED_CLASS` in the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_fast.data.layouts.found import LabelKind

IGNORED = -1
IGNORED_CLASS = 255  # what the operators write and read

Labels = NDArray[np.int32]
Classes = NDArray[np.uint8]

_MOST_CLASSES = 32
_IMAGES_LOOKED_AT = 8
_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Meaning:
    """How the codes of label files are to be read.

    Attributes:
        kind: see the head of this file; "freiburg" is 0 ignored, 1 background, ids from 2 (never guessed).
        codes: the code of each class in the files; for a mask, of background and foreground. Empty for ids.
        ignore: code of pixels that belong to no class; None if there is none.
        blurred: the mask's values lie about two codes; from 128 on they are foreground.
    """

    kind: LabelKind
    codes: tuple[int, ...] = ()
    ignore: int | None = None
    blurred: bool = False


def tell_meaning(
    labels: Sequence[Labels],
    kind: LabelKind | None = None,
    ignore: int | None = None,
    classes: int = 0,
    names: Sequence[str] = (),
) -> Meaning:
    """Tell what the values of a set of label images mean.

    Args:
        labels: each [H, W] int32, as stored.
        kind: known beforehand; None tells it from the values.
        ignore: code of pixels that belong to no class.
        classes: number of classes whose codes are known to be 0, 1, 2, ...; 0 takes the codes that occur.
        names: of the label images, for the messages.

    Raises:
        ValueError: the values do not fit the kind.
    """
    counts = _count(labels)
    if ignore is not None:
        counts.pop(ignore, None)
    values = tuple(sorted(counts))
    if kind is None:
        if len(values) <= 1 or (len(values) == 2 and values[0] == 0):
            kind = "mask"
        elif _is_blurred_mask(counts):
            return Meaning("mask", (0, 255), ignore, blurred=True)
        elif len(values) <= _MOST_CLASSES and _mostly_in_pieces(labels, ignore):
            kind = "classes"
        else:
            kind = "instances"
    if kind != "classes":
        if values and values[0] < 0:
            place = _place(labels, names, values[0])
            raise ValueError(f"{place}: wanted labels from 0, got {values[0]} (is it a code to ignore?)")
        highest = values[-1] if values else 0
        return Meaning(kind, (0, highest) if kind == "mask" else (), ignore)
    codes = tuple(range(classes)) if classes else values
    strange = sorted(set(values) - set(codes))
    if strange:
        place = _place(labels, names, strange[0])
        raise ValueError(f"{place}: wanted the classes 0..{classes - 1}, got the value {strange[0]}")
    if len(codes) > IGNORED_CLASS:
        raise ValueError(f"labels: wanted at most {IGNORED_CLASS} classes, got {len(codes)}")
    return Meaning("classes", codes, ignore)


def instances_and_classes(labels: Labels, meaning: Meaning) -> tuple[Labels, Classes | None]:
    """Turn one label image into an instance map and, where there are more than two classes to tell, a class map.

    The objects of a mask, and those of classes, are the 4-connected pieces of what is not background: touching
    ones cannot be told apart.

    Args:
        labels: [H, W] int32, as stored.
        meaning: of the whole set.

    Returns:
        instances: [H, W] int32, 0 background, ids from 1, `IGNORED`.
        classes: [H, W] uint8, 0..K-1, `IGNORED_CLASS`; None unless the kind is "classes".
    """
    ignored = labels == (0 if meaning.kind == "freiburg" else meaning.ignore)
    if meaning.kind == "classes":
        codes = np.asarray(meaning.codes, dtype=np.int32)
        classes = np.searchsorted(codes, np.where(ignored, codes[0], labels)).astype(np.uint8)
        instances = pieces((classes > 0) & ~ignored)
        classes[ignored], instances[ignored] = IGNORED_CLASS, IGNORED
        return instances, classes
    if meaning.kind == "mask":
        instances = pieces((labels > (127 if meaning.blurred else 0)) & ~ignored)
    else:
        instances = np.maximum(labels - 1, 0) if meaning.kind == "freiburg" else labels.copy()
    instances[ignored] = IGNORED
    return instances, None


def pieces(foreground: NDArray[np.bool_]) -> Labels:
    """Number the 4-connected pieces of a mask [H, W] from 1."""
    numbered, _ = ndimage.label(foreground)
    return np.asarray(numbered, dtype=np.int32)


def _place(labels: Sequence[Labels], names: Sequence[str], value: int) -> str:
    """Name the first label image that holds a value."""
    index = next(index for index, image in enumerate(labels) if (image == value).any())
    return names[index] if names else f"label image {index}"


def _count(labels: Sequence[Labels]) -> dict[int, int]:
    """Count how often each value occurs in the set."""
    counts: dict[int, int] = {}
    for image in labels:
        if image.min() >= 0 and image.max() < 2**16:
            histogram = np.bincount(image.ravel())
            values, occurrences = np.flatnonzero(histogram), histogram[histogram > 0]
        else:
            values, occurrences = np.unique(image, return_counts=True)
        for value, number in zip(values.tolist(), occurrences.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
    return counts


def _is_blurred_mask(counts: dict[int, int]) -> bool:
    """Tell whether 8-bit values crowd at 0 and 255 as those of a mask do that was compressed or smoothed.

    Neither ids nor classes have nine values or more of which nearly all pixels above 8 are above 247.
    """
    if len(counts) <= 8 or min(counts) < 0 or not 248 <= max(counts) <= 255:
        return False
    above = {value: number for value, number in counts.items() if value > 8}
    return sum(number for value, number in above.items() if value >= 248) >= 0.9 * sum(above.values())


def _mostly_in_pieces(labels: Sequence[Labels], ignore: int | None) -> bool:
    """Tell whether most values, image by image, form several pieces that do not touch: an object is one piece."""
    step = -(-len(labels) // _IMAGES_LOOKED_AT)
    whole = broken = 0
    for image in labels[::step]:
        shown, numbered = np.unique(image, return_inverse=True)
        numbered = numbered.reshape(image.shape)
        for place, box in enumerate(ndimage.find_objects(numbered + 1)):
            if shown[place] in {0, ignore}:
                continue
            _, count = ndimage.label(numbered[box] == place, _EIGHT_CONNECTED)
            whole, broken = whole + (count == 1), broken + (count > 1)
    return broken > whole
