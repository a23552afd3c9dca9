"""The physical size of a pixel, read from a TIFF file so that what is made of the image can carry it on."""

import os
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from unet_fast.data.formats import TIFF_SUFFIXES

_UNITS = {tifffile.RESUNIT.INCH: "inch", tifffile.RESUNIT.CENTIMETER: "cm"}
_MICROMETRE = {"micron", "microns", "um", "\\u00B5m"}  # ImageJ escapes the Greek letter


@dataclass(frozen=True)
class PixelSize:
    """Height and width of a pixel.

    Attributes:
        y: height, in `unit`.
        x: width, in `unit`.
        unit: "µm", or as the file names it, such as "nm", "cm" or "inch".
        z: distance of the planes of a stack, in `unit`; None where it is not known.
    """

    y: float
    x: float
    unit: str
    z: float | None = None


def read_pixel_size(path: str | os.PathLike[str]) -> PixelSize | None:
    """Read the size of a pixel from the metadata of an OME, ImageJ or plain TIFF file.

    Returns:
        None where the file does not tell, or is not a TIFF file.
    """
    if Path(path).suffix.lower() not in TIFF_SUFFIXES:
        return None
    with tifffile.TiffFile(path) as file:
        if file.is_ome:
            return _from_ome(file.ome_metadata or "")
        tags = file.pages.first.tags
        y, x = (tags[name].value if name in tags else (0, 1) for name in ("YResolution", "XResolution"))
        if not (y[0] and y[1] and x[0] and x[1]):
            return None
        metadata = file.imagej_metadata or {}
        unit = metadata.get("unit")
        if not unit and "ResolutionUnit" in tags:
            unit = _UNITS.get(tags["ResolutionUnit"].value)
    if not unit or unit == "pixel":
        return None
    z = metadata.get("spacing")
    unit = "µm" if unit in _MICROMETRE else str(unit)
    return PixelSize(y[1] / y[0], x[1] / x[0], unit, float(z) if z else None)


def _from_ome(description: str) -> PixelSize | None:
    for element in ElementTree.fromstring(description).iter():
        if element.tag.endswith("}Pixels"):
            z, y, x = (element.get(f"PhysicalSize{axis}") for axis in "ZYX")
            if y is None or x is None:
                return None
            of_planes, unit = (element.get(f"PhysicalSize{axis}Unit", "µm") for axis in "ZX")
            return PixelSize(float(y), float(x), unit, float(z) if z and of_planes == unit else None)
    return None
