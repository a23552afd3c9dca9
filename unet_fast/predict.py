"""Segment images of any size with a trained network: `python -m unet_fast.predict -i IN -o OUT -m RUN`.

The overlap-tile strategy of section 3.1: the image is mirrored beyond its border, cut into tiles that overlap by what
the valid convolutions consume, and the predictions are laid side by side. Nothing is blended, for nothing differs: the
result is that of one pass over the whole image. Files are read and written tile by tile; memory holds a few tiles.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from unet_fast.checkpoint import load_model
from unet_fast.data import Normalization
from unet_fast.geometry import TilePlan
from unet_fast.networks import Network
from unet_fast.precision import DTYPES, PrecisionChoice, choose_precision
from unet_fast.prediction.dask_arrays import is_lazy, predict_dask
from unet_fast.prediction.files import Job, OutputFormat, OutputLayout, find_jobs
from unet_fast.prediction.memory import choose_batch, choose_tile, parse_memory
from unet_fast.prediction.network import Averaged, TileNetwork, evaluating
from unet_fast.prediction.pipeline import Task, TileReader, predict_tiles
from unet_fast.prediction.ranks import Ranks, joined_ranks
from unet_fast.prediction.segmenter import Options, Segmenter, digest_of
from unet_fast.prediction.source import Source
from unet_fast.prediction.work import Results, class_dtype

if TYPE_CHECKING:
    import dask.array

_UNFINISHED = ".unfinished"


def predict(
    model: Network,
    image: "NDArray[Any] | Tensor | dask.array.Array | str | os.PathLike[str]",
    tile: int | tuple[int, int] | None = None,
    probabilities: bool = False,
    *,
    normalization: Normalization | None = None,
    average: Averaged = "none",
    precision: PrecisionChoice = "auto",
    progress: bool = False,
) -> Any:
    """Segment one image of any size.

    Args:
        model: the network; used in evaluation mode, on the device where it is.
        image: [H, W] or [C, H, W]; real numbers, computed in float32. A dask array of that shape, or the path of an
            OME-Zarr image, whose planes are segmented one by one, is segmented by the scheduler of dask when the
            result is asked for.
        tile: largest input side of a tile in pixels, a legal one (16k + 60); default what fits into half of the free
            memory, at most 2044. The result does not depend on it.
        probabilities: return the probability of each class instead of the most probable class.
        normalization: what the image goes through first; default none.
        average: "none", or the mean of the probabilities over the four "mirrors" of the image, or over "all" eight
            mirrors and rotations by 90 degrees.
        precision: in which the network computes, "float32", "tf32", "bf16" or "fp16"; "auto" (default) is bf16 on CUDA
            from Ampere on, else float32. Probabilities are float32.
        progress: show a bar over the tiles; dask has its own.

    Returns:
        uint8 class numbers [H, W] (uint16 beyond 256 classes), or float32 probabilities [K, H, W]. Of a dask array or a
        path a dask array with a chunk for each tile, with the axes of the planes in front, and the same numbers.

    Raises:
        ValueError: the image has not the network's channels or holds nan, the tile is illegal, or the device cannot
            compute in the precision.
    """
    if not isinstance(image, np.ndarray | Tensor) and is_lazy(image):
        lazy_options = probabilities, normalization or Normalization("none"), average, precision
        return predict_dask(model, image, tile, *lazy_options)
    pixels = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    planar = pixels[None] if pixels.ndim == 2 else pixels
    if planar.ndim != 3 or planar.shape[0] != model.channels:
        wanted = f"[{model.channels}, H, W]" + (" or [H, W]" if model.channels == 1 else "")
        raise ValueError(f"image: wanted shape {wanted}, got {list(pixels.shape)}")
    device = next(model.parameters()).device
    chosen = choose_precision(precision, device)
    dtype = DTYPES[chosen]
    source = Source(planar, "CYX", "image")
    tile = choose_tile(model, source.size, None, device, dtype) if tile is None else tile
    plan = TilePlan(source.size, tile, model.sides)
    if probabilities:
        found: NDArray[Any] = np.empty((1, model.classes, *source.size), np.float32)
        results = Results(None, found)
    else:
        found = np.empty((1, *source.size), class_dtype(model.classes))
        results = Results(found, None)
    tasks = [Task(0, tile) for tile in range(len(plan.output_origins))]
    reader = TileReader(source, plan, normalization or Normalization("none"), device)
    batch = choose_batch(model, plan.input_side, None, device, dtype)
    with evaluating(model, len(tasks) > 1, chosen):
        done = predict_tiles(reader, TileNetwork(model, average, chosen), tasks, results.put, batch)
        for _ in tqdm(done, total=len(tasks), unit="tile", disable=not progress, leave=False):
            pass
    plane: NDArray[Any] = found[0]
    return plane


@dataclass
class PredictConfig:
    """Segment an image, or every image of a folder, with a trained network.

    Args:
        input: image file (TIFF, OME-Zarr, NumPy, PNG, JPEG), folder of images, pattern such as "day1/*.tif", or a
            sequence of the Cell Tracking Challenge; planes of a stack are segmented one by one.
        output: folder for the results, made where missing; NAME_labels.tif for each image.
        model: run folder of `python -m unet_fast.train`, or a model.safetensors file.
        result: "instances" numbers the objects, "classes" writes class numbers; "auto" is what the network was
            trained for.
        layout: "files" names NAME_labels.tif; "ctc" 01_RES/mask000.tif for 01/t000.tif; "isbi" writes the stack of the
            foreground's probability; "auto" is "ctc" for a sequence, else "files".
        format: "tiff" writes ImageJ's TIFF, beyond 65535 objects or 4 GB OME-TIFF; "ome-zarr" NAME_labels.ome.zarr, of
            the version of the image or 0.5; "ome-zarr-0.4" for programs that know no other; "auto" is "ome-zarr" for
            OME-Zarr images, else "tiff".
        probabilities: also write NAME_probabilities.tif (or .ome.zarr), one channel per class.
        probability_dtype: "float32", or "uint8" with 255 for 1.
        min_size: objects smaller than this many pixels are dropped.
        gap: widest gap between objects, in pixels, that is given back to them; 1 is what training cuts.
        fill_holes: fill background that one object encloses.
        threshold: a pixel is of an object where the foreground has at least this probability, such as 0.3; default
            where it is more probable than the background (with several classes, where one of them is the most
            probable).
        seeds: objects are the pieces where the foreground has at least this probability, such as 0.8, grown over the
            rest of it: parts cells that touch where the network is not sure; default the pieces of the foreground.
        tta: test-time augmentation, the mean over the four "mirrors" of the image or over "all" eight mirrors and
            rotations; takes four or eight times as long.
        tile: largest input side of a tile in pixels (16k + 60); default what fits into the memory, up to 2044.
        memory: how much a tile may need, such as "800M" or "6G"; default half of what is free.
        precision: in which the network computes: "float32", "tf32", "bf16" or "fp16"; "auto" is bf16 on CUDA from
            Ampere on, else float32. Probabilities are float32.
        device: "cpu", "cuda" or "auto".
        threads: CPU threads; default torch's.
    """

    input: Path
    output: Path
    model: Path
    result: Literal["auto", "instances", "classes"] = "auto"
    layout: OutputLayout = "auto"
    format: OutputFormat = "auto"
    probabilities: bool = False
    probability_dtype: Literal["float32", "uint8"] = "float32"
    min_size: int = 0
    gap: int = 1
    fill_holes: bool = False
    threshold: float | None = None
    seeds: float | None = None
    tta: Averaged = "none"
    tile: int | None = None
    memory: str | None = None
    precision: PrecisionChoice = "auto"
    device: str = "auto"
    threads: int | None = None


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device of a name; "auto" is CUDA where it is usable. Processes of one machine take turns."""
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    if device == torch.device("cuda"):  # without a number
        return torch.device("cuda", local_rank % max(1, torch.cuda.device_count()))
    return device


def run(config: PredictConfig, ranks: Ranks | None = None) -> int:
    """Segment what the configuration names, and say what was written; returns the number of files that failed."""
    together = ranks or Ranks()
    if config.threads:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device, together.local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    model = load_model(config.model)
    model.net.to(device)
    precision = choose_precision(config.precision, device)
    jobs = find_jobs(config.input, config.output, config.layout, config.probabilities, config.format)
    unfinished = config.output / _UNFINISHED
    instances = config.result == "instances" or (config.result == "auto" and model.labels == "instances")
    for name, probability in (("threshold", config.threshold), ("seeds", config.seeds)):
        if probability is not None and not (instances and 0 < probability <= 1):
            wanted = "a probability above 0, at most 1" if instances else "none where the result is classes"
            raise ValueError(f"{name}: wanted {wanted}, got {probability}")
    options = Options(
        instances=instances,
        probability_dtype=config.probability_dtype,
        min_size=config.min_size,
        gap=config.gap,
        fill_holes=config.fill_holes,
        threshold=config.threshold,
        seeds=config.seeds,
        average=config.tta,
        tile=config.tile,
        memory=None if config.memory is None else parse_memory(config.memory),
        precision=precision,
        progress=sys.stderr.isatty() and together.first,
    )
    if together.first:
        processes = f", {together.count} processes" if together.count > 1 else ""
        threads = f"{torch.get_num_threads()} threads{processes}"
        print(f"segmenting {len(jobs)} file(s) with {config.model} in {precision} on {device}, {threads}")
    unfinished.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter(model, options, unfinished, digest_of(model))
    with evaluating(model.net, many=True, precision=precision):
        if len(jobs) >= together.count:  # files are shared, else the tiles of each file
            failed = _segment_all(together.share(jobs), segmenter.segment, config, shown=options.progress)
        else:
            failed = _segment_all(jobs, lambda job: segmenter.segment(job, together), config, shown=options.progress)
            failed = failed if together.first else 0
    failed = together.sum(failed)
    if together.first:
        segmenter.forget(jobs)
        problem = f"; {failed} of {len(jobs)} file(s) could not be segmented" if failed else ""
        print(f"done: the results are in {config.output}{problem}")
    return failed


def _segment_all(jobs: list[Job], segment: Callable[[Job], str], config: PredictConfig, shown: bool) -> int:
    """Segment files one by one; what cannot be is said in one line each. Returns how many failed."""
    failed = 0
    for job in tqdm(jobs, unit="image", disable=not shown or len(jobs) < 2):
        try:
            message = segment(job)
            if message:
                tqdm.write(message)
        except (ValueError, OSError, MemoryError) as error:
            failed += 1
            tqdm.write(f"error: {_named(error, job)}", file=sys.stderr)
    return failed


def _named(error: Exception, job: Job) -> str:
    text = str(error) or "out of memory"
    return text if str(job.image) in text else f"{job.image}: {text}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = ArgumentParser(prog="python -m unet_fast.predict", description="Segment images with a trained U-Net.")
    flags = {"probabilities": "also write NAME_probabilities.tif", "fill_holes": "fill holes of objects"}
    parser.add_class_arguments(PredictConfig, skip={"input", "output", "model", *flags})
    for name, text in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)
    parser.add_argument("-i", "--input", type=Path, required=True, help="image file, folder of images or pattern")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("-m", "--model", type=Path, required=True, help="run folder, or a model.safetensors file")
    config = PredictConfig(**vars(parser.parse_args(arguments)))
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with joined_ranks() as ranks:
            return 1 if run(config, ranks) else 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on at the tiles that are missing", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)


if __name__ == "__main__":
    sys.exit(main())
