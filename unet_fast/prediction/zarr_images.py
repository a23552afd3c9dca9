"""OME-Zarr images (NGFF 0.4 and 0.5), read chunk by chunk; needs the extra `[zarr]`."""

from pathlib import Path
from typing import Any

from unet_fast.data.pixel_size import PixelSize
from unet_fast.prediction.arrays import Readable

_SIGNS = (".zattrs", ".zgroup", "zarr.json")
_UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm"}


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr group."""
    return path.is_dir() and any((path / sign).is_file() for sign in _SIGNS)


def open_zarr(path: Path) -> tuple[Readable, str, PixelSize | None]:
    """Open the full resolution of an OME-Zarr image.

    Returns:
        The array, its axes as letters (TCZYX) and the size of a pixel if the metadata tell it.

    Raises:
        ValueError: zarr is not installed, or the folder holds no OME-Zarr image.
    """
    try:
        import zarr  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"{path}: reading OME-Zarr needs zarr: pip install 'unet_fast[zarr]'") from error
    try:
        group: Any = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        image = attributes.get("ome", attributes)["multiscales"][0]
        level = image["datasets"][0]
        axes = "".join(axis["name"][0].upper() for axis in image["axes"])
        array: Readable = group[level["path"]]
    except Exception as error:  # zarr raises many kinds
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read as an OME-Zarr image: {reason}") from error
    return array, axes, _pixel_size(image, level, axes)


def _pixel_size(image: dict[str, Any], level: dict[str, Any], axes: str) -> PixelSize | None:
    scales = [step["scale"] for step in level.get("coordinateTransformations", []) if step["type"] == "scale"]
    unit = image["axes"][axes.index("X")].get("unit")
    if not scales or unit is None:
        return None
    return PixelSize(scales[0][axes.index("Y")], scales[0][axes.index("X")], _UNITS.get(unit, unit))
