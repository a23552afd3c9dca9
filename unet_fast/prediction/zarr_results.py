"""OME-Zarr images (NGFF 0.4 and 0.5) that are written chunk by chunk; needs the extra `[zarr]`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from unet_fast.data.pixel_size import PixelSize
from unet_fast.data.zarr_images import UNITS, Version, import_zarr, open_zarr
from unet_fast.prediction.arrays import sync_file

_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}  # in the order of the specification
_LEVEL = "0"  # path of the full resolution


class ZarrPlanes:
    """Planes [N, H, W], or with a value for each class [N, K, H, W], that lie in the array of an OME-Zarr image.

    Every chunk belongs to one tile, so processes that write different tiles share no file.

    Args:
        path: folder of the image, in the order TCZYX; T, C and Z may be missing.

    Attributes:
        dtype: of the numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        array, self._axes, _ = open_zarr(path, "r+")
        self._array: Any = array
        self._planes = [size for axis, size in zip(self._axes, array.shape, strict=True) if axis in "TZ"]
        self.dtype = np.dtype(array.dtype)
        self._unsynced: list[str] = []

    def __setitem__(self, index: Any, values: Any) -> None:
        """Write a window, (plane, [classes,] rows, columns): a chunk, or several whole ones."""
        plane, *window = index
        numbers, slices = iter(np.unravel_index(plane, self._planes) if self._planes else ()), iter(window)
        place = [int(next(numbers)) if axis in "TZ" else next(slices) for axis in self._axes]
        self._array[tuple(place)] = values
        starts = [(part.start or 0) if isinstance(part, slice) else part for part in place]
        chunk = tuple(start // side for start, side in zip(starts, self._array.chunks, strict=True))
        self._unsynced.append(self._array.metadata.encode_chunk_key(chunk))

    def sync(self) -> None:
        """Return when all chunks that were written are on the disk."""
        for chunk in self._unsynced:
            file = self.path / _LEVEL / chunk
            if file.is_file():  # zarr keeps no chunk of zeros
                sync_file(file)
        self._unsynced.clear()


@dataclass(frozen=True)
class ZarrForm:
    """What the OME-Zarr images that are made of one image have in common.

    Attributes:
        name: of the image.
        version: of the specification.
        axes: of the planes, in that order: "", "T", "Z" or "TZ".
        planes: lengths of those axes.
        size: (H, W) of a plane in pixels.
        chunk: (height, width) in pixels.
        pixel_size: if it is known.
    """

    name: str
    version: Version
    axes: str
    planes: tuple[int, ...]
    size: tuple[int, int]
    chunk: tuple[int, int]
    pixel_size: PixelSize | None

    def create(self, path: Path, dtype: DTypeLike, classes: int | None = None) -> ZarrPlanes:
        """Make an image of zeros.

        Args:
            path: folder that is made.
            dtype: of the numbers.
            classes: how many values a pixel has; None: one, a label.

        Raises:
            ValueError: zarr is not installed.
        """
        zarr = import_zarr(f"{self.name}: writing")
        sides = dict(zip(self.axes, self.planes, strict=True)) | dict(zip("YX", self.size, strict=True))
        chunks = dict.fromkeys(self.axes, 1) | dict(zip("YX", self.chunk, strict=True))
        if classes is not None:
            sides["C"] = chunks["C"] = classes
        axes = [axis for axis in _TYPES if axis in sides]
        image = {"name": self.name, "axes": [self._axis(axis) for axis in axes], "datasets": [self._level(axes)]}
        multiscales = [image]
        label: dict[str, Any] = {"image-label": {}} if classes is None else {}
        if self.version == "0.5":
            group = zarr.create_group(path, zarr_format=3)
            group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales, **label}
            storage: dict[str, Any] = {"dimension_names": [axis.lower() for axis in axes]}
        else:
            group = zarr.create_group(path, zarr_format=2)
            group.attrs.update({"multiscales": [{"version": "0.4", **image}], **label})
            storage = {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        shape, chunk = ([lengths[axis] for axis in axes] for lengths in (sides, chunks))
        group.create_array(_LEVEL, shape=shape, chunks=chunk, dtype=np.dtype(dtype), fill_value=0, **storage)
        return ZarrPlanes(path)

    def _axis(self, axis: str) -> dict[str, str]:
        described = {"name": axis.lower(), "type": _TYPES[axis]}
        if _TYPES[axis] == "space" and self.pixel_size is not None and (axis != "Z" or self.pixel_size.z is not None):
            unit = self.pixel_size.unit
            described["unit"] = next((name for name, short in UNITS.items() if short == unit), unit)
        return described

    def _level(self, axes: list[str]) -> dict[str, Any]:
        size = self.pixel_size or PixelSize(1.0, 1.0, "pixel")
        sizes = {"Z": size.z or 1.0, "Y": size.y, "X": size.x}
        scale = [float(sizes.get(axis, 1.0)) for axis in axes]
        return {"path": _LEVEL, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
