"""Pictures of errors: where a segmentation splits, merges, misses and invents."""

from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_fast.atomic_write import atomic_write
from unet_fast.metrics import em
from unet_fast.metrics.overlaps import count_overlaps
from unet_fast.scoring.reading import Compared, separated

COLOURS = {
    "agreed background": (40, 40, 40),
    "agreed foreground": (200, 200, 200),
    "missed": (0, 114, 178),  # foreground in the truth alone: blue
    "false": (240, 228, 66),  # foreground in the prediction alone: yellow
    "split": (213, 94, 0),  # vermilion
    "merged": (204, 51, 160),  # purple
}
_CODES = {name: code for code, name in enumerate(COLOURS)}
_PALETTE = np.array(list(COLOURS.values()), dtype=np.uint8)

Codes = NDArray[np.uint8]


def membrane_errors(image: Compared) -> Codes:
    """Return the colour [H, W] (its number in `COLOURS`) of each pixel, at the threshold 0.5.

    Pixels at which no warping of the truth avoids a split or a merger are drawn as spots, to be seen.
    """
    truth, found = separated(image.instances), image.probability > 0.5
    codes = _agreement(truth, found)
    types = em.warping_maps(truth, image.probability, 0.5).types[0]
    for name, kind in (("split", "split"), ("merged", "merge")):
        where = types == em.ERROR_TYPES.index(kind) + 1
        codes[ndimage.binary_dilation(where, iterations=2)] = _CODES[name]
    return codes


def cell_errors(image: Compared) -> Codes:
    """Return the colour [H, W] (its number in `COLOURS`) of each pixel.

    A cell is split where two or more labels lie in it by more than half of themselves, and cells are merged where one
    label covers more than half of each of them.
    """
    truth, labels = image.instances, image.labels
    codes = _agreement(truth > 0, labels > 0)
    overlaps = count_overlaps(truth, labels)
    both = (overlaps.first > 0) & (overlaps.second > 0)
    first, second, pixels = overlaps.first[both], overlaps.second[both], overlaps.pixels[both]
    in_cell = 2 * pixels > overlaps.sizes_of_second()[second]
    of_cell = 2 * pixels > overlaps.sizes_of_first()[first]
    split = np.bincount(first[in_cell], minlength=int(truth.max()) + 1) > 1
    merged = np.bincount(second[of_cell], minlength=int(labels.max()) + 1) > 1
    agreed = (truth > 0) & (labels > 0)
    codes[agreed & split[truth]] = _CODES["split"]
    codes[agreed & merged[labels]] = _CODES["merged"]
    return codes


def write_picture(path: Path, codes: Codes) -> None:
    """Write a picture in the colours of `COLOURS` as PNG."""
    with atomic_write(path) as temporary:
        imagecodecs.imwrite(temporary, _PALETTE[codes])


def _agreement(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> Codes:
    table = np.array(
        [[_CODES["agreed background"], _CODES["false"]], [_CODES["missed"], _CODES["agreed foreground"]]],
        dtype=np.uint8,
    )
    return table[truth.astype(np.intp), found.astype(np.intp)]
