"""Any image file as planes [N, C, H, W] of which windows are read."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unet_fast.data.formats import SUFFIXES, TIFF_SUFFIXES, is_zarr
from unet_fast.data.images import Image, main_series, names_planes, planes_first, read_planes
from unet_fast.data.pixel_size import PixelSize, read_pixel_size
from unet_fast.data.zarr_images import open_zarr
from unet_fast.prediction.arrays import FileArray, Readable
from unet_fast.prediction.tiff import open_tiff

_BLOCK_PIXELS = 1 << 22
_KEPT = ("uint8", "uint16", "float32")


class Source:
    """Planes of one size, read window by window as `read_stack` would read them at once: uint8, uint16 or float32.

    Args:
        pixels: where the numbers come from.
        axes: one letter for each axis of `pixels`; Y and X among them, C and S are channels, the others planes.
        name: for messages.
        pixel_size: if the file tells it.
        alpha: whether the last sample is an alpha channel, which is left out.
    """

    def __init__(
        self, pixels: Readable, axes: str, name: str, pixel_size: PixelSize | None = None, alpha: bool = False
    ) -> None:
        self.pixels, self.axes, self.name, self.pixel_size = pixels, axes, name, pixel_size
        self._alpha, self._order = alpha, planes_first(axes)
        if 0 in pixels.shape:
            raise ValueError(f"{name}: wanted at least one pixel, got shape {tuple(pixels.shape)}")
        if np.dtype(pixels.dtype).kind not in "buif":
            raise ValueError(f"{name}: wanted an image of real numbers, got {np.dtype(pixels.dtype).name}")
        sizes = [(axes[place], pixels.shape[place] - (alpha and axes[place] == "S")) for place in self._order]
        self.plane_axes = "".join(axis for axis, _ in sizes if axis not in "CSYX")
        self.plane_shape = tuple(size for axis, size in sizes if axis not in "CSYX")
        self.channels = math.prod(size for axis, size in sizes if axis in "CS")
        self.planes = math.prod(self.plane_shape)
        self.size: tuple[int, int] = (sizes[-2][1], sizes[-1][1])
        self._dtype: np.dtype[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """What is read: whole numbers of other kinds become uint16 if all of the file fit, else float32."""
        if self._dtype is None:
            stored = np.dtype(self.pixels.dtype).newbyteorder("=")
            if stored.name in _KEPT:
                self._dtype = stored
            elif stored.kind in "bf":
                self._dtype = np.dtype(np.uint8 if stored.kind == "b" else np.float32)
            else:
                fits = all(
                    block.min() >= 0 and block.max() <= 65535 for n in range(self.planes) for block in self._raw(n)
                )
                self._dtype = np.dtype(np.uint16 if fits else np.float32)
        return self._dtype

    def read(self, plane: int, rows: slice, columns: slice) -> Image:
        """Read a window [C, h, w] of a plane.

        Raises:
            ValueError: the file cannot be read there, or holds numbers that are not finite.
        """
        found = self._read(plane, rows, columns)
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise ValueError(f"{self.name}: wanted finite values, got nan or infinity")
        return np.ascontiguousarray(found.astype(self.dtype, copy=False))

    def blocks(self, plane: int) -> Iterator[Image]:
        """Read a plane in bands of some million pixels, [C, h, W]."""
        for rows in self._bands():
            yield self.read(plane, rows, slice(0, self.size[1]))

    def _raw(self, plane: int) -> Iterator[NDArray[Any]]:
        for rows in self._bands():
            yield self._read(plane, rows, slice(0, self.size[1]))

    def _bands(self) -> Iterator[slice]:
        step = max(1, _BLOCK_PIXELS // (self.size[1] * self.channels))
        for y in range(0, self.size[0], step):
            yield slice(y, min(y + step, self.size[0]))

    def _read(self, plane: int, rows: slice, columns: slice) -> NDArray[Any]:
        number = iter(np.unravel_index(plane, self.plane_shape)) if self.plane_shape else iter(())
        samples = slice(0, self.pixels.shape[self.axes.find("S")] - self._alpha) if "S" in self.axes else slice(None)
        window: list[int | slice] = [0] * len(self.axes)
        for place in self._order:
            axis = self.axes[place]
            window[place] = {"Y": rows, "X": columns, "C": slice(0, self.pixels.shape[place]), "S": samples}.get(
                axis
            ) or int(next(number))
        try:
            found = np.asarray(self.pixels[tuple(window)])
        except Exception as error:  # decoders raise what they like
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ValueError(f"{self.name}: cannot be read as an image: {reason}") from error
        left = [axis for axis in self.axes if axis in "CSYX"]
        found = found.transpose(planes_first("".join(left))).reshape(self.channels, *found_size(rows, columns))
        return found.astype(found.dtype.newbyteorder("="), copy=False)


def found_size(rows: slice, columns: slice) -> tuple[int, int]:
    """Return height and width of a window."""
    return rows.stop - rows.start, columns.stop - columns.start


def open_source(path: str | os.PathLike[str], channels: int | None = None) -> Source:
    """Open an image file without reading its pixels; PNG, JPEG and the like, which cannot be read in part, are read.

    Args:
        path: TIFF, NumPy, PNG, JPEG, BMP, GIF, WebP or JPEG 2000 file, or the folder of an OME-Zarr image.
        channels: how many the reader wants: pages to which the file gives no meaning are the channels of one image
            where they are as many.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read as an image.
    """
    file = Path(path)
    if is_zarr(file):
        pixels, axes, pixel_size = open_zarr(file)
        return Source(pixels, axes, str(path), pixel_size)
    if not file.is_file():
        raise FileNotFoundError(f"{path}: wanted an image file, found none")
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: wanted a file of {', '.join(SUFFIXES)}")
    if suffix not in {*TIFF_SUFFIXES, ".npy"}:
        return Source(read_planes(path).pixels, "NCYX", str(path))
    try:
        source = _open_tiff(file) if suffix in TIFF_SUFFIXES else _open_numpy(file)
    except Exception as error:  # decoders raise what they like
        reason = str(error).partition("\n")[0] or type(error).__name__
        wording = reason if reason.startswith(f"{path}: ") else f"{path}: cannot be read as an image: {reason}"
        raise ValueError(wording) from error
    unnamed = source.planes > 1 and not names_planes(source.axes)
    if channels is not None and unnamed and source.channels == 1 and source.planes == channels:
        axes = "".join(axis if axis in "YX" else "C" for axis in source.axes)
        return Source(source.pixels, axes, source.name, source.pixel_size)
    return source


def _open_tiff(path: Path) -> Source:
    file = tifffile.TiffFile(path)
    series, alpha = main_series(file)
    return Source(open_tiff(file, series), series.axes, str(path), read_pixel_size(path), alpha)


def _open_numpy(path: Path) -> Source:
    """Open [H, W], [H > 4, W, 3 or 4], [N or C, H, W] or [N, C, H, W]."""
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    shape, pixels = mapped.shape, mapped
    if isinstance(mapped, np.memmap) and mapped.flags.c_contiguous:
        pixels = FileArray(path, mapped.dtype, shape, mapped.offset)
    if len(shape) == 3 and shape[-1] in {3, 4} and shape[0] > 4:
        return Source(pixels, "YXS", str(path))
    axes = {2: "YX", 3: "QYX", 4: "NCYX"}.get(len(shape))
    if axes is None:
        raise ValueError(f"wanted an array of 2, 3 or 4 axes, got shape {shape}")
    return Source(pixels, axes, str(path))
