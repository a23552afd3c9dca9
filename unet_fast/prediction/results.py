"""From the unfinished results of an image to the user's files: objects are numbered, files put in place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_fast.atomic_write import replace_folder
from unet_fast.data.writing import write_bands
from unet_fast.prediction.arrays import FileArray
from unet_fast.prediction.files import Job
from unet_fast.prediction.objects import BAND_PIXELS, Objects
from unet_fast.prediction.source import Source
from unet_fast.prediction.work import Work
from unet_fast.prediction.zarr_results import ZarrForm, ZarrPlanes


class Finisher:
    """Writes the files of one image.

    Args:
        job: the image and its results.
        source: the image.
        work: all tiles of it.
        form: of the results that are OME-Zarr images.
    """

    def __init__(self, job: Job, source: Source, work: Work, form: ZarrForm | None) -> None:
        self._job, self._source, self._work, self._form = job, source, work, form
        self._axes, self._planes = plane_axes(source)

    def write(self, instances: bool, **numbering: Any) -> str:
        """Write labels and probabilities, each whole or not at all; returns what was written, for the user to read.

        Args:
            instances: whether labels are objects; else classes.
            numbering: of the objects, see `Objects`.
        """
        job, message = self._job, f"{self._job.image.name}:"
        for path in job.results:
            path.parent.mkdir(parents=True, exist_ok=True)
        if job.labels is not None:
            if instances:
                message += f" {job.labels}, {self._objects(job.labels, **numbering)} objects"
            else:
                self._put(job.labels, self._work.classes, np.dtype(np.uint16))
                message += f" {job.labels}"
        if job.probabilities is not None and self._work.probabilities is not None:
            self._put(job.probabilities, self._work.probabilities, self._work.probabilities.dtype)
            message += f"{' and' if job.labels else ''} {job.probabilities}"
        return message

    def _put(self, path: Path, values: FileArray | ZarrPlanes, dtype: np.dtype[Any]) -> None:
        if isinstance(values, ZarrPlanes):
            replace_folder(values.path, path)
            return
        if self._job.foreground_alone:
            self._write_tiff(path, _foreground(values), dtype)
        else:
            self._write_tiff(path, _pages(values), dtype, values.shape[1:-2])

    def _write_tiff(
        self, path: Path, bands: Iterator[NDArray[Any]], dtype: np.dtype[Any], classes: tuple[int, ...] = ()
    ) -> None:
        """Write the bands of all planes, with an axis for the classes where there is one."""
        shape, axes = (*self._planes, *classes, *self._source.size), f"{self._axes}{'C' * len(classes)}YX"
        write_bands(path, bands, shape, dtype, axes, self._source.pixel_size)

    def _objects(self, path: Path, **numbering: Any) -> int:
        """Number the objects of all planes, write them; returns how many there are."""
        classes = self._work.classes
        assert isinstance(classes, FileArray)
        pieces = self._work.scratch("pieces", np.int32, classes.shape)
        found = [Objects(classes.plane(n), pieces.plane(n), **numbering) for n in range(classes.shape[0])]
        highest = max(plane.count for plane in found)
        dtype = np.dtype(np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32)
        if self._form is None:
            self._write_tiff(path, (band for plane in found for band in plane.bands()), dtype)
        else:
            labels = self._form.create(self._work.folder / "objects.ome.zarr", dtype)
            for number, plane in enumerate(found):
                for rows, columns in _windows(self._form):
                    labels[number, rows, columns] = plane.window(rows, columns)
            labels.sync()
            replace_folder(labels.path, path)
        return sum(plane.count for plane in found)


def plane_axes(source: Source) -> tuple[str, tuple[int, ...]]:
    """Return letters and lengths of the axes of planes as files know them: T and Z; others are counted as Z."""
    kept = [(axis, size) for axis, size in zip(source.plane_axes, source.plane_shape, strict=True) if size > 1]
    letters = "".join(axis for axis, _ in kept)
    if letters in {"", "T", "Z", "TZ"}:
        return letters, tuple(size for _, size in kept)
    return "Z", (source.planes,)


def _windows(form: ZarrForm) -> Iterator[tuple[slice, slice]]:
    """Yield the windows that are the chunks of a plane."""
    (height, width), (down, across) = form.size, form.chunk
    for y in range(0, height, down):
        for x in range(0, width, across):
            yield slice(y, min(y + down, height)), slice(x, min(x + across, width))


def _pages(values: FileArray) -> Iterator[NDArray[Any]]:
    """Yield [..., H, W] in bands from top to bottom, page by page."""
    height, width = values.shape[-2:]
    step = max(1, BAND_PIXELS // width)
    for page in np.ndindex(values.shape[:-2]):
        for y in range(0, height, step):
            yield values[(*page, slice(y, min(y + step, height)))]


def _foreground(probabilities: FileArray) -> Iterator[NDArray[Any]]:
    """Yield the probability of all classes but the first, in bands."""
    planes, classes, height, width = probabilities.shape
    step = max(1, BAND_PIXELS // (width * classes))
    for plane in range(planes):
        for y in range(0, height, step):
            yield probabilities[plane, 1:, y : min(y + step, height)].sum(0, dtype=probabilities.dtype)
