"""Read images and label images of the formats that microscopes and annotation programs write.

Everything becomes planes [N, C, H, W]: what an axis of a TIFF file means is taken from its metadata, not from its
length. An axis without a name ("pages") is N planes unless the caller knows that it must be channels.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from unet_fast.data.formats import SUFFIXES, TIFF_SUFFIXES, is_zarr
from unet_fast.data.zarr_images import open_zarr

Image = NDArray[Any]  # uint8, uint16 or float32

_LARGEST_ID = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Planes:
    """The content of one file.

    Attributes:
        pixels: [N, C, H, W], as stored.
        unnamed: the axis whose meaning the file does not tell, "planes" (N) or "channels" (C); None if it tells all.
    """

    pixels: Image
    unnamed: Literal["planes", "channels"] | None

    def as_channels(self) -> Image:
        """Return [1, N, H, W]: the planes are the channels of one image."""
        return self.pixels.swapaxes(0, 1)


@dataclass(frozen=True)
class LabelStack:
    """The label images of one file.

    Attributes:
        codes: [N, H, W] int32, the values as stored; a colour is the number 0xRRGGBB.
        stored: what the file holds: the name of a dtype, or "colours".
    """

    codes: NDArray[np.int32]
    stored: str


def read_image(path: str | os.PathLike[str], channels: int | None = None) -> Image:
    """Read a file that holds one image.

    Args:
        path: TIFF, PNG, JPEG, BMP, GIF, WebP, JPEG 2000 or NumPy file, or OME-Zarr image.
        channels: how many the reader wants; see `read_stack`.

    Returns:
        [C, H, W] uint8, uint16 or float32 (see `read_stack`).

    Raises:
        ValueError: the file holds a stack, or cannot be read.
    """
    stack = read_stack(path, channels)
    if stack.shape[0] != 1:
        raise ValueError(f"{path}: wanted one image, got a stack of {stack.shape[0]} planes")
    image: Image = stack[0]
    return image


def read_stack(path: str | os.PathLike[str], channels: int | None = None) -> Image:
    """Read a file that holds one or more images of one size.

    uint8, uint16 and float32 are kept. Of the others, booleans become uint8 (0, 1), whole numbers that all lie in
    0..65535 become uint16, and everything else becomes float32; no value is rescaled. An alpha channel is dropped.

    Args:
        path: TIFF, PNG, JPEG, BMP, GIF, WebP, JPEG 2000 or NumPy file, or OME-Zarr image.
        channels: how many the reader wants. Pages to which the file gives no meaning are the channels of one image
            where they are as many; by default they are images.

    Returns:
        [N, C, H, W] uint8, uint16 or float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read as an image, or holds no image, complex or non-finite numbers.
    """
    planes = read_planes(path)
    count, depth = planes.pixels.shape[:2]
    if channels is not None and planes.unnamed == "planes" and depth == 1 and count == channels > 1:
        return planes.as_channels()
    return planes.pixels


def read_planes(path: str | os.PathLike[str]) -> Planes:
    """Read a file as `read_stack` does, and keep what it does not tell about its axes."""
    planes = _read(Path(path))
    return Planes(_kept_dtype(planes.pixels, path), planes.unnamed)


def read_labels(path: str | os.PathLike[str]) -> NDArray[np.int32]:
    """Read a file that holds one label image.

    Returns:
        [H, W] int32, the values as stored.

    Raises:
        ValueError: the file holds several label images or other than whole numbers, or cannot be read.
    """
    codes = read_label_stack(path).codes
    if codes.shape[0] != 1:
        raise ValueError(f"{path}: wanted one label image, got a stack of {codes.shape[0]}")
    labels: NDArray[np.int32] = codes[0]
    return labels


def read_label_stack(path: str | os.PathLike[str]) -> LabelStack:
    """Read a file that holds one or more label images of one size.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the values are not whole numbers below 2^31, or the file cannot be read.
    """
    planes = _read(Path(path))
    pixels = planes.pixels
    if planes.unnamed == "channels":  # three pages written without metadata pass for red, green and blue
        pixels = pixels.swapaxes(0, 1)
    stored = pixels.dtype.name
    if pixels.shape[1] > 1 and (pixels == pixels[:, :1]).all():
        pixels = pixels[:, :1]  # grey, written as a colour image
    if pixels.shape[1] == 3 and pixels.dtype == np.uint8:
        red, green, blue = np.moveaxis(pixels.astype(np.int32), 1, 0)
        return LabelStack((red << 16) | (green << 8) | blue, "colours")
    if pixels.shape[1] != 1:
        raise ValueError(f"{path}: wanted a label image of one channel, got {pixels.shape[1]} channels of {stored}")
    return LabelStack(_whole_numbers(pixels[:, 0], path), stored)


def _whole_numbers(values: Image, path: str | os.PathLike[str]) -> NDArray[np.int32]:
    if values.dtype.kind not in "buif":
        raise ValueError(f"{path}: wanted whole numbers as labels, got {values.dtype.name}")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.round(values))
        if not whole.all():
            raise ValueError(f"{path}: wanted whole numbers as labels, got {values[~whole][0]}")
    if values.size and (values.min() < -_LARGEST_ID or values.max() > _LARGEST_ID):
        raise ValueError(f"{path}: wanted labels up to {_LARGEST_ID}, got {values.min()}..{values.max()}")
    return values.astype(np.int32)


def _kept_dtype(pixels: Image, path: str | os.PathLike[str]) -> Image:
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{path}: wanted an image of real numbers, got {pixels.dtype.name}")
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise ValueError(f"{path}: wanted finite values, got nan or infinity")
        return pixels.astype(np.float32, copy=False)
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8)
    fits = pixels.min() >= 0 and pixels.max() <= np.iinfo(np.uint16).max
    return pixels.astype(np.uint16 if fits else np.float32)


def _read(path: Path) -> Planes:
    planes = _read_zarr(path) if is_zarr(path) else _read_file(path)
    if planes.pixels.size == 0:
        raise ValueError(f"{path}: wanted at least one pixel, got shape {planes.pixels.shape}")
    pixels = planes.pixels.astype(planes.pixels.dtype.newbyteorder("="), copy=False)
    return Planes(np.ascontiguousarray(pixels), planes.unnamed)


def _read_file(path: Path) -> Planes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: wanted an image file, found none")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: wanted a file of {', '.join(SUFFIXES)}")
    read = _read_tiff if suffix in TIFF_SUFFIXES else _read_numpy if suffix == ".npy" else _read_picture
    try:
        return read(path)
    except Exception as error:  # decoders raise what they like
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read as an image: {reason}") from error


def main_series(file: tifffile.TiffFile) -> tuple[tifffile.TiffPageSeries, bool]:
    """Return the image of a TIFF file, and whether its last sample is an alpha channel.

    Raises:
        ValueError: there are several, or an axis Y or X is missing.
    """
    first = file.series[0]
    others = [series for series in file.series[1:] if series.size >= first.size]
    if others:  # smaller ones are thumbnails or the label of a slide
        raise ValueError(f"it holds {len(file.series)} images of different shapes: save each in a file of its own")
    if "Y" not in first.axes or "X" not in first.axes:
        raise ValueError(f"wanted axes with Y and X, got {first.axes}")
    alpha = first.axes.endswith("S") and any(int(kind) in {1, 2} for kind in first.keyframe.extrasamples)
    return first, alpha


def planes_first(axes: str) -> list[int]:
    """Return the places of the axes of a file in the order planes, channels, Y, X."""
    return sorted(range(len(axes)), key=lambda axis: "CSYX".find(axes[axis]))


def names_planes(axes: str) -> bool:
    """Whether the axes of a file tell what its planes are: time, depth, ..."""
    return bool(set(axes) - set("CSYXIQ"))


def _read_tiff(path: Path) -> Planes:
    with tifffile.TiffFile(path) as file:
        first, alpha = main_series(file)
        axes, pixels = first.axes, first.asarray()
    if alpha:
        pixels = pixels[..., :-1]
    pixels = _as_planes(pixels, axes)
    if axes in {"SYX", "SXY"}:
        return Planes(pixels, "channels")
    return Planes(pixels, "planes" if len(pixels) > 1 and not names_planes(axes) else None)


def _read_zarr(path: Path) -> Planes:
    pixels, axes, _ = open_zarr(path)
    return Planes(_as_planes(np.asarray(pixels[...]), axes), None)


def _as_planes(pixels: Image, axes: str) -> Image:
    """Return [N, C, H, W]."""
    order = planes_first(axes)
    pixels = pixels.transpose(order)
    channels = math.prod(pixels.shape[place] for place, axis in enumerate(order) if axes[axis] in "CS")
    return pixels.reshape(-1, channels, *pixels.shape[-2:])


def _read_picture(path: Path) -> Planes:
    pixels = np.asarray(imagecodecs.imread(path))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3:
        raise ValueError(f"wanted one picture, got shape {pixels.shape}")
    if pixels.shape[-1] in {2, 4}:
        pixels = pixels[..., :-1]  # alpha
    always_colour = path.suffix.lower() in {".bmp", ".gif", ".webp"}  # the decoder spreads grey over three channels
    if always_colour and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    return Planes(pixels.transpose(2, 0, 1)[None], None)


def _read_numpy(path: Path) -> Planes:
    """Read [H, W], [H > 4, W, 3 or 4], [N or C, H, W] or [N, C, H, W]."""
    pixels = np.load(path, allow_pickle=False)
    if pixels.ndim == 3 and pixels.shape[-1] in {3, 4} and pixels.shape[0] > 4:
        return Planes(pixels.transpose(2, 0, 1)[None], None)
    if pixels.ndim not in {2, 3, 4}:
        raise ValueError(f"wanted an array of 2, 3 or 4 axes, got shape {pixels.shape}")
    if pixels.ndim == 4:
        return Planes(pixels, None)
    planes = pixels.reshape(math.prod(pixels.shape[:-2]), 1, *pixels.shape[-2:])
    return Planes(planes, "planes" if len(planes) > 1 else None)
