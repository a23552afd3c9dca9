"""What is an image: files by their suffix, and folders that are OME-Zarr images."""

import re
from pathlib import Path

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jp2", ".npy")

_ZARR_SIGNS = (".zattrs", ".zgroup", "zarr.json")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group."""
    return path.is_dir() and any((path / sign).is_file() for sign in _ZARR_SIGNS)


def is_file_or_zarr(path: Path) -> bool:
    """Whether a path is to be read as one image, and not searched as a folder of images."""
    return path.is_file() or is_zarr(path)


def image_stem(image: Path) -> str:
    """Return the name of an image without what tells its format: ".tif", ".ome.tif" and ".ome.zarr" are dropped."""
    return re.sub(r"\.ome$", "", image.stem, flags=re.IGNORECASE)
