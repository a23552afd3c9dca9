"""One image file from its pixels to the files of its results."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from unet_fast.checkpoint import Model
from unet_fast.geometry import TilePlan
from unet_fast.precision import DTYPES, Precision
from unet_fast.prediction.files import Job
from unet_fast.prediction.memory import choose_batch, choose_tile
from unet_fast.prediction.network import Averaged, TileNetwork
from unet_fast.prediction.pipeline import Task, TileReader, predict_tiles
from unet_fast.prediction.ranks import Ranks
from unet_fast.prediction.results import Finisher, plane_axes
from unet_fast.prediction.source import Source, open_source
from unet_fast.prediction.work import Shape, Work
from unet_fast.prediction.zarr_results import ZarrForm


@dataclass(frozen=True)
class Options:
    """What decides the results of every image.

    Attributes:
        instances: whether labels are objects; else classes.
        probability_dtype: "float32", or "uint8" with 255 for 1.
        min_size: see `label_instances`.
        gap: see `label_instances`.
        fill_holes: see `label_instances`.
        threshold: probability of the foreground from which on a pixel is of an object; None: where it is the most
            probable.
        seeds: the same from which on it is a seed of `label_instances`; None: no seeds.
        average: over mirrors and rotations, see `TileNetwork`.
        tile: largest input side of a tile in pixels; None: what fits into memory.
        memory: bytes that a tile may need; None: half of what is free.
        precision: in which the network computes.
        progress: whether a bar over the tiles is shown.
    """

    instances: bool
    probability_dtype: str = "float32"
    min_size: int = 0
    gap: int = 1
    fill_holes: bool = False
    threshold: float | None = None
    seeds: float | None = None
    average: Averaged = "none"
    tile: int | None = None
    memory: int | None = None
    precision: Precision = "float32"
    progress: bool = False


class Segmenter:
    """Segments files, one after the other.

    Args:
        model: the network, in evaluation mode and on its device.
        options: what is wanted.
        unfinished: folder in which unfinished results lie.
        digest: of the model, so that a run does not go on with the results of another one.
    """

    def __init__(self, model: Model, options: Options, unfinished: Path, digest: str) -> None:
        self._model, self._options, self._unfinished, self._digest = model, options, unfinished, digest
        self._network = TileNetwork(model.net, options.average, options.precision)
        self._device = next(model.net.parameters()).device

    def segment(self, job: Job, ranks: Ranks | None = None) -> str:
        """Segment a file; write its results, each whole or not at all.

        Args:
            job: the file and its results.
            ranks: the processes that share its tiles; None: this one does them all.

        Returns:
            What was done, for the user to read.

        Raises:
            ValueError: the file cannot be read, or does not suit the network.
        """
        together = ranks or Ranks()
        source = open_source(job.image, self._model.net.channels)
        if source.channels != self._model.net.channels:
            raise ValueError(
                f"{job.image}: wanted {self._model.net.channels} channel(s), as the network was trained on, "
                f"got {source.channels}"
            )
        described, name = self._describe(job), _unique_name(job)
        ticket = self._unfinished / f"{name}.done"
        wanted = json.dumps([described, [str(path) for path in job.results], self._finishing])
        if ticket.is_file() and ticket.read_text() == wanted and all(path.exists() for path in job.results):
            return f"{job.image.name}: was done before the interruption"
        folder = self._unfinished / name
        together.everywhere(lambda: self._prepare(folder, described, job, source) if together.first else None)
        work = Work(folder)
        missing: list[Task] = []
        together.everywhere(lambda: missing.extend(work.missing()))  # before one of them has done some
        together.everywhere(lambda: self._compute(work, source, together.share(missing)))
        messages: list[str] = []

        def finish() -> None:
            if together.first:
                finisher = Finisher(job, source, work, self._form(job, source, work.tile))
                messages.append(finisher.write(**self._finishing))
                ticket.write_text(wanted)
                work.remove()

        together.everywhere(finish)
        return "".join(messages)

    def forget(self, jobs: list[Job]) -> None:
        """Remove what is kept for the case that the run is interrupted: it has come to its end."""
        for job in jobs:
            (self._unfinished / f"{_unique_name(job)}.done").unlink(missing_ok=True)
            shutil.rmtree(self._unfinished / _unique_name(job), ignore_errors=True)
        if not any(self._unfinished.iterdir()):
            self._unfinished.rmdir()

    def _describe(self, job: Job) -> dict[str, Any]:
        file = next((job.image / name for name in ("zarr.json", ".zattrs") if (job.image / name).is_file()), job.image)
        stat = file.stat()
        return {
            "image": [str(job.image.resolve()), stat.st_size, stat.st_mtime_ns],
            "model": self._digest,
            "normalization": self._model.normalization.to_dict(),
            "average": self._options.average,
            "precision": self._options.precision,
            "tile": self._options.tile,
            "probabilities": self._options.probability_dtype if job.probabilities else None,
            "zarr": job.zarr,
            "instances": self._options.instances if job.zarr else None,  # else made of the same classes
            "threshold": self._options.threshold,
            "seeds": self._options.seeds,
        }

    @property
    def _finishing(self) -> dict[str, Any]:
        names = ("instances", "gap", "min_size", "fill_holes")
        return {name: getattr(self._options, name) for name in names} | {"seeded": self._options.seeds is not None}

    def _form(self, job: Job, source: Source, tile: tuple[int, int]) -> ZarrForm | None:
        if job.zarr is None:
            return None
        chunk = TilePlan(source.size, tile, self._model.net.sides).step
        return ZarrForm(job.name, job.zarr, *plane_axes(source), source.size, chunk, source.pixel_size)

    def _prepare(self, folder: Path, described: dict[str, Any], job: Job, source: Source) -> None:
        """Find what an interrupted run left, or begin."""
        if Work.found(folder, described) is not None:
            return
        net, options = self._model.net, self._options
        if options.tile is None:
            tile = choose_tile(net, source.size, options.memory, self._device, DTYPES[options.precision])
        else:
            tile = (options.tile, options.tile)
        plan = TilePlan(source.size, tile, net.sides)
        kept = options.probability_dtype if job.probabilities else None
        cuts = options.threshold, options.seeds
        shape = Shape(source.planes, source.size, net.classes, kept, tile, len(plan.output_origins), *cuts)
        missing = shape.nbytes - shutil.disk_usage(self._unfinished).free
        if missing > 0:
            raise OSError(f"output: wanted {missing / 2**30:.1f} GB more on the disk of {self._unfinished.parent}")
        Work.create(folder, described, shape, self._form(job, source, tile), options.instances)

    def _compute(self, work: Work, source: Source, tasks: list[Task]) -> None:
        plan = TilePlan(source.size, work.tile, self._model.net.sides)
        reader = TileReader(source, plan, self._model.normalization, self._device)
        options = self._options
        batch = choose_batch(self._model.net, plan.input_side, options.memory, self._device, DTYPES[options.precision])
        bar = tqdm(total=len(tasks), unit="tile", disable=not options.progress or len(tasks) < 2, leave=False)
        try:
            for _ in predict_tiles(reader, self._network, tasks, work.put, batch):
                bar.update()
        finally:
            bar.close()
            work.sync()


def digest_of(model: Model) -> str:
    """Return a number that two models share only if they compute the same."""
    digest = hashlib.sha256()
    for name, value in model.net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _unique_name(job: Job) -> str:
    return "-".join(job.results[0].parts[-2:]).replace(".tif", "")
