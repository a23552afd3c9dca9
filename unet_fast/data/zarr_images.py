"""OME-Zarr images (NGFF 0.4 and 0.5), read chunk by chunk; needs the extra `[zarr]`."""

from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from unet_fast.data.pixel_size import PixelSize

Version = Literal["0.4", "0.5"]

UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "inch": "inch"}


def version_of(path: Path) -> Version:
    """Return the version of an OME-Zarr image: 0.5 is stored as zarr 3, what was before as zarr 2."""
    return "0.5" if (path / "zarr.json").is_file() else "0.4"


def import_zarr(what: str) -> ModuleType:
    """Return the package; `what` needs it, for the message where it is missing."""
    try:
        import zarr  # noqa: PLC0415
    except ImportError as error:
        raise ValueError(f"{what} OME-Zarr needs zarr: pip install 'unet_fast[zarr]'") from error
    return zarr


def open_zarr(path: Path, mode: Literal["r", "r+"] = "r") -> tuple[Any, str, PixelSize | None]:
    """Open the full resolution of an OME-Zarr image.

    Args:
        path: folder of the image.
        mode: "r" to read, "r+" to write, too.

    Returns:
        The array, its axes as letters (TCZYX) and the size of a pixel if the metadata tell it.

    Raises:
        ValueError: zarr is not installed, or the folder holds no OME-Zarr image.
    """
    zarr = import_zarr(f"{path}: reading")
    try:
        group: Any = zarr.open_group(path, mode=mode)
        attributes = dict(group.attrs)
        image = attributes.get("ome", attributes)["multiscales"][0]
        level = image["datasets"][0]
        axes = "".join(axis["name"][0].upper() for axis in image["axes"])
        array = group[level["path"]]
    except Exception as error:  # zarr raises many kinds
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read as an OME-Zarr image: {reason}") from error
    return array, axes, _pixel_size(image, level, axes)


def _pixel_size(image: dict[str, Any], level: dict[str, Any], axes: str) -> PixelSize | None:
    scales = [step["scale"] for step in level.get("coordinateTransformations", []) if step["type"] == "scale"]
    units = {letter: axis.get("unit") for letter, axis in zip(axes, image["axes"], strict=True)}
    if not scales or units["X"] is None:
        return None
    sizes = {letter: size for letter, size in zip(axes, scales[0], strict=True) if units[letter] == units["X"]}
    if "Y" not in sizes:
        return None
    return PixelSize(sizes["Y"], sizes["X"], UNITS.get(units["X"], units["X"]), sizes.get("Z"))
