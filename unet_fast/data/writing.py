"""Write labels and probabilities as the TIFF files that ImageJ, napari and the challenges' programs open.

ImageJ's TIFF where it can hold the data (it knows uint16 and float32, up to 4 GB), OME-TIFF otherwise.
"""

import os
from typing import Any

import numpy as np
import tifffile
from numpy.typing import ArrayLike, NDArray

from unet_fast.atomic_write import atomic_write
from unet_fast.data.pixel_size import PixelSize

_IMAGEJ_BYTES = 2**32 - 2**25  # offsets of 32 bits, less the room that tifffile keeps for the headers


def write_labels(path: str | os.PathLike[str], labels: ArrayLike, pixel_size: PixelSize | None = None) -> None:
    """Write label images: uint16 ImageJ TIFF up to 65535, uint32 OME-TIFF above; zlib-compressed.

    Args:
        path: the file to write; what lies there is replaced in one step, or not at all.
        labels: [H, W] or [N, H, W], bool or whole numbers from 0.
        pixel_size: of the image that the labels belong to (see `read_pixel_size`); None writes none.

    Raises:
        ValueError: the shape is wrong, or a label is negative or above 2^32 - 1.
        TypeError: the labels are not whole numbers.
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "bui":
        raise TypeError(f"write_labels: labels: wanted whole numbers, got {values.dtype.name}")
    if values.ndim not in {2, 3} or values.size == 0:
        raise ValueError(f"write_labels: labels: wanted shape [H, W] or [N, H, W], got {list(values.shape)}")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > np.iinfo(np.uint32).max:
        raise ValueError(f"write_labels: labels: wanted 0..2^32 - 1, got {low}..{high}")
    narrow = high <= np.iinfo(np.uint16).max
    _write(path, values.astype(np.uint16 if narrow else np.uint32), "ZYX"[-values.ndim :], pixel_size)


def write_probabilities(
    path: str | os.PathLike[str], probabilities: ArrayLike, pixel_size: PixelSize | None = None
) -> None:
    """Write the probabilities of the classes as a float32 TIFF whose channels are the classes.

    Args:
        path: the file to write; what lies there is replaced in one step, or not at all.
        probabilities: [K, H, W] or [N, K, H, W], float32; K = 1 gives plain pages, as the ISBI challenge wants them.
        pixel_size: of the image that they belong to (see `read_pixel_size`); None writes none.

    Raises:
        ValueError: the shape is wrong.
        TypeError: the dtype is not float32.
    """
    values = np.asarray(probabilities)
    if values.dtype != np.float32:
        raise TypeError(f"write_probabilities: probabilities: wanted float32, got {values.dtype.name}")
    if values.ndim not in {3, 4} or values.size == 0:
        raise ValueError(
            f"write_probabilities: probabilities: wanted shape [K, H, W] or [N, K, H, W], got {list(values.shape)}"
        )
    _write(path, values, "ZCYX"[-values.ndim :], pixel_size)


def _write(path: str | os.PathLike[str], values: NDArray[Any], axes: str, pixel_size: PixelSize | None) -> None:
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib", "metadata": metadata}
    if values.dtype != np.uint32 and values.nbytes < _IMAGEJ_BYTES:
        options["imagej"] = True
        if pixel_size is not None:
            options["resolution"] = (1 / pixel_size.x, 1 / pixel_size.y)
            metadata["unit"] = "micron" if pixel_size.unit == "µm" else pixel_size.unit
    else:
        options |= {"ome": True, "bigtiff": True}
        if pixel_size is not None:
            unit = "in" if pixel_size.unit == "inch" else pixel_size.unit
            metadata |= {"PhysicalSizeX": pixel_size.x, "PhysicalSizeXUnit": unit}
            metadata |= {"PhysicalSizeY": pixel_size.y, "PhysicalSizeYUnit": unit}
    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, values, **options)
