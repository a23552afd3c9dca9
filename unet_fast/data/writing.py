"""Write labels and probabilities as the TIFF files that ImageJ, napari and the challenges' programs open.

ImageJ's TIFF where it can hold the data (it knows uint16 and float32, up to 4 GB), OME-TIFF otherwise.
"""

import math
import os
from collections.abc import Iterable, Iterator
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import ArrayLike, DTypeLike, NDArray

from unet_fast.atomic_write import atomic_write
from unet_fast.data.pixel_size import PixelSize

_STRIP_BYTES = 1 << 18
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
    axes = "ZYX"[-values.ndim :]
    write_bands(path, _pages(values), values.shape, np.uint16 if narrow else np.uint32, axes, pixel_size)


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
    write_bands(path, _pages(values), values.shape, np.float32, "ZCYX"[-values.ndim :], pixel_size)


def _pages(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1, *values.shape[-2:])


def write_bands(
    path: str | os.PathLike[str],
    bands: Iterable[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    axes: str,
    pixel_size: PixelSize | None = None,
) -> None:
    """Write a TIFF file of which only a band is in memory.

    Args:
        path: the file to write; what lies there is replaced in one step, or not at all.
        bands: [h, W] of `dtype`, page by page and from top to bottom; none reaches over the end of a page.
        shape: of the whole, [..., H, W].
        dtype: uint8, uint16, uint32 or float32.
        axes: a letter for each axis of the shape, of T, Z, C, Y and X in that order.
        pixel_size: see `write_labels`.
    """
    kind = np.dtype(dtype)
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib", "metadata": metadata}
    if kind != np.uint32 and math.prod(shape) * kind.itemsize < _IMAGEJ_BYTES:
        options["imagej"] = True
        if pixel_size is not None:
            options["resolution"] = (1 / pixel_size.x, 1 / pixel_size.y)
            metadata["unit"] = "micron" if pixel_size.unit == "µm" else pixel_size.unit
            if pixel_size.z is not None:
                metadata["spacing"] = pixel_size.z
    else:
        options |= {"ome": True, "bigtiff": True}
        if pixel_size is not None:
            unit = "in" if pixel_size.unit == "inch" else pixel_size.unit
            for axis, side in (("X", pixel_size.x), ("Y", pixel_size.y), ("Z", pixel_size.z)):
                if side is not None:
                    metadata |= {f"PhysicalSize{axis}": side, f"PhysicalSize{axis}Unit": unit}
    rows = min(max(1, _STRIP_BYTES // (shape[-1] * kind.itemsize)), shape[-2])
    strips = (_compressed(strip.astype(kind, copy=False)) for strip in _strips(bands, shape[-2], rows))
    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, strips, shape=shape, dtype=kind, rowsperstrip=rows, **options)


def _compressed(strip: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.zlib_encode(strip.tobytes()))


def _strips(bands: Iterable[NDArray[Any]], height: int, rows: int) -> Iterator[NDArray[Any]]:
    """Cut pages that come in bands into strips of so many rows; the last one of a page may have fewer."""
    y, held = 0, []
    for band in bands:
        begin = 0
        while begin < len(band):
            missing = min(rows - y % rows, height - y)
            part = band[begin : begin + missing]
            held.append(part)
            begin, y = begin + len(part), y + len(part)
            if y % rows == 0 or y == height:
                yield np.concatenate(held)
                held, y = [], y % height
