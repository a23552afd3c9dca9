"""Results while they are made, and which tiles are done: what an interrupted run leaves on disk and goes on from.

The folder holds `job.json` (what is computed, and from what), `classes.raw` and `probabilities.raw` (plane by plane, as
they will be in the results) and `done.raw` (one byte for each tile). A byte is set after its tile is on the disk.
What will be an OME-Zarr image is one from the start, `classes.ome.zarr` and `probabilities.ome.zarr`, and has only to
be moved in the end.
"""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from unet_fast.atomic_write import atomic_write
from unet_fast.prediction.arrays import FileArray
from unet_fast.prediction.objects import SEED
from unet_fast.prediction.pipeline import Found, Task
from unet_fast.prediction.zarr_results import ZarrForm, ZarrPlanes

_SECONDS_BETWEEN_SYNCS = 2.0


def class_dtype(classes: int) -> np.dtype[Any]:
    """Return what class numbers are stored in: uint8, uint16 beyond 256 classes."""
    return np.dtype(np.uint8 if classes <= 256 else np.uint16)


@dataclass(frozen=True)
class Results:
    """Where results go; None: they are not wanted.

    Attributes:
        classes: [N, H, W], the most probable class; with a threshold 0, or 1 for an object; with seeds 2 (SEED) for its
            seed, too.
        probabilities: [N, K, H, W], float32, or uint8 with 255 for 1.
        threshold: probability of all classes but the first from which on a pixel is of an object; None: where one of
            them is the most probable class.
        seeds: the same from which on it is a seed; None: there are none.
    """

    classes: FileArray | ZarrPlanes | NDArray[Any] | None
    probabilities: FileArray | ZarrPlanes | NDArray[Any] | None
    threshold: float | None = None
    seeds: float | None = None

    def put(self, found: Found) -> None:
        """Put the result of a tile in its place."""
        plane, values = found.task.plane, found.probabilities
        if self.classes is not None:
            self.classes[plane, found.rows, found.columns] = self._classes(values).numpy()
        if self.probabilities is not None:
            kept = values.numpy() if self.probabilities.dtype.kind == "f" else np.rint(values.numpy() * 255)
            self.probabilities[plane, :, found.rows, found.columns] = kept

    def _classes(self, probabilities: Tensor) -> Tensor:
        if self.threshold is None and self.seeds is None:
            return probabilities.argmax(0)
        of_objects = 1 - probabilities[0]
        mask = probabilities.argmax(0) > 0 if self.threshold is None else of_objects >= self.threshold
        return mask.int() if self.seeds is None else torch.where(mask & (of_objects >= self.seeds), SEED, mask.int())


@dataclass(frozen=True)
class Shape:
    """What a job fills.

    Attributes:
        planes: N of the image.
        size: (H, W) of a plane in pixels.
        classes: K.
        probabilities: the dtype in which they are kept, or None.
        tile: input side (height, width) that tiles have at most.
        tiles: of a plane.
        threshold: see `Results`.
        seeds: see `Results`.
    """

    planes: int
    size: tuple[int, int]
    classes: int
    probabilities: str | None
    tile: tuple[int, int]
    tiles: int
    threshold: float | None = None
    seeds: float | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it takes on disk, and that the numbers of the objects will take."""
        for_each = class_dtype(self.classes).itemsize + np.dtype(np.int32).itemsize
        if self.probabilities is not None:
            for_each += self.classes * np.dtype(self.probabilities).itemsize
        return self.planes * self.size[0] * self.size[1] * for_each


class Work:
    """The unfinished results of one image.

    Args:
        folder: where they lie; `create` makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shape = json.loads((folder / "job.json").read_text())["shape"]
        planes, classes, size = shape["planes"], shape["classes"], shape["size"]
        self.tile: tuple[int, int] = (shape["tile"][0], shape["tile"][1])
        self._done = FileArray(folder / "done.raw", np.uint8, (planes, shape["tiles"]))
        self.classes = _opened(folder / "classes", class_dtype(classes), (planes, *size))
        self.probabilities: FileArray | ZarrPlanes | None = None
        if shape["probabilities"]:
            of_classes = (planes, classes, *size)
            self.probabilities = _opened(folder / "probabilities", shape["probabilities"], of_classes)
        self._results = Results(self.classes, self.probabilities, shape["threshold"], shape["seeds"])
        self._unsynced: list[Task] = []
        self._synced_at = time.monotonic()

    @classmethod
    def create(
        cls, folder: Path, job: dict[str, Any], shape: Shape, form: ZarrForm | None = None, instances: bool = True
    ) -> "Work":
        """Make the folder anew.

        Args:
            folder: where it is made.
            job: what decides the results, as plain values.
            shape: of the results.
            form: of the results that will be OME-Zarr images; None: none will be.
            instances: whether the classes are numbered to objects before they are written.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        FileArray.create(folder / "done.raw", np.uint8, (shape.planes, shape.tiles))
        dtype = class_dtype(shape.classes)
        if form is None or instances:
            FileArray.create(folder / "classes.raw", dtype, (shape.planes, *shape.size))
        else:
            form.create(folder / "classes.ome.zarr", dtype)
        if shape.probabilities is not None and form is None:
            of_classes = (shape.planes, shape.classes, *shape.size)
            FileArray.create(folder / "probabilities.raw", shape.probabilities, of_classes)
        elif shape.probabilities is not None and form is not None:
            form.create(folder / "probabilities.ome.zarr", shape.probabilities, shape.classes)
        with atomic_write(folder / "job.json") as temporary:
            temporary.write_text(json.dumps({"job": job, "shape": vars(shape)}, indent=1))
        return cls(folder)

    @classmethod
    def found(cls, folder: Path, job: dict[str, Any]) -> "Work | None":
        """Return what an interrupted run of the same job left there, if anything."""
        file = folder / "job.json"
        if not file.is_file() or json.loads(file.read_text())["job"] != json.loads(json.dumps(job)):
            return None
        try:
            return cls(folder)
        except (OSError, ValueError):  # one of its results was already moved to its place
            return None

    def missing(self) -> list[Task]:
        """Return the tiles that are not done, plane by plane."""
        return [Task(int(plane), int(tile)) for plane, tile in np.argwhere(self._done[:] == 0)]

    def put(self, found: Found) -> None:
        """Keep the result of a tile."""
        self._results.put(found)
        self._unsynced.append(found.task)
        if time.monotonic() - self._synced_at > _SECONDS_BETWEEN_SYNCS:
            self.sync()

    def sync(self) -> None:
        """Bring all results to the disk, then mark their tiles as done."""
        for array in (self.classes, self.probabilities):
            if array is not None:
                array.sync()
        for task in self._unsynced:
            self._done[task.plane, task.tile] = 1
        self._done.sync()
        self._unsynced.clear()
        self._synced_at = time.monotonic()

    def scratch(self, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> FileArray:
        """Make a file of zeros for what comes after the network."""
        return FileArray.create(self.folder / f"{name}.raw", dtype, shape)

    def remove(self) -> None:
        """Remove the folder: its results are in the user's files."""
        shutil.rmtree(self.folder)


def _opened(stem: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> FileArray | ZarrPlanes:
    zarr = stem.with_suffix(".ome.zarr")
    return ZarrPlanes(zarr) if zarr.is_dir() else FileArray(stem.with_suffix(".raw"), dtype, shape)
