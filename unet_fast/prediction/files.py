"""Which files are segmented, and what their results are called."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unet_fast.data import image_files
from unet_fast.data.formats import image_stem, is_file_or_zarr, is_zarr
from unet_fast.data.zarr_images import Version, version_of

OutputLayout = Literal["auto", "files", "ctc", "isbi"]
OutputFormat = Literal["auto", "tiff", "ome-zarr", "ome-zarr-0.4"]

_SEQUENCE = re.compile(r"\d\d")
_FRAME = re.compile(r"t(\d{3,4})\.tiff?")
_GLOB = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Job:
    """One image and its results.

    Attributes:
        image: file, or folder of an OME-Zarr image.
        labels: file of the labels; None: none are written.
        probabilities: file of the probabilities; None: none are written.
        foreground_alone: whether the probabilities are those of foreground alone, a page for each plane.
        zarr: version of OME-Zarr in which they are written; None: they are TIFF files.
    """

    image: Path
    labels: Path | None
    probabilities: Path | None
    foreground_alone: bool = False
    zarr: Version | None = None

    @property
    def name(self) -> str:
        """Name of the image without what tells its format."""
        return image_stem(self.image)

    @property
    def results(self) -> list[Path]:
        """The files that are written."""
        return [path for path in (self.labels, self.probabilities) if path is not None]


def find_jobs(
    source: Path, output: Path, layout: OutputLayout, probabilities: bool, form: OutputFormat = "auto"
) -> list[Job]:
    """Find the images and name their results.

    Args:
        source: an image file, an OME-Zarr folder, a folder of such, a pattern such as "day1/*.tif", or for the Cell
            Tracking Challenge a sequence `01` or the folder of sequences.
        output: folder of the results.
        layout: "files" names NAME_labels.tif and NAME_probabilities.tif; "ctc" 01_RES/mask000.tif for 01/t000.tif;
            "isbi" writes a stack of the foreground's probability, NAME_probabilities.tif; "auto" is "ctc" for a
            sequence, else "files".
        probabilities: whether those are wanted, too.
        form: "tiff", "ome-zarr" (NAME_labels.ome.zarr; of the version of an OME-Zarr image, else 0.5) or
            "ome-zarr-0.4"; "auto" is "ome-zarr" for OME-Zarr images, else "tiff".

    Raises:
        FileNotFoundError: there is no image.
        ValueError: two images would have the same result, or a challenge's layout is wanted as OME-Zarr.
    """
    frames = _sequence_frames(source) if layout in {"auto", "ctc"} else []
    if layout == "ctc" and not frames:
        raise FileNotFoundError(f"input: wanted a sequence 01 with frames t000.tif, or a folder of such, got {source}")
    if form.startswith("ome-zarr") and (frames or layout == "isbi"):
        challenge = "ctc" if frames else layout
        raise ValueError(f"format: wanted auto or tiff, as the layout {challenge} is one of TIFF files, got {form}")
    if frames:
        jobs = [_challenge_job(frame, output, probabilities) for frame in frames]
    elif layout == "isbi":
        jobs = [
            Job(image, None, output / f"{image_stem(image)}_probabilities.tif", foreground_alone=True)
            for image in _images(source)
        ]
    else:
        jobs = [_named_job(image, output, probabilities, _version(image, form)) for image in _images(source)]
    own = {_without_format(result) for job in jobs for result in job.results}
    jobs = [job for job in jobs if _without_format(job.image) not in own]  # results of an earlier run beside images
    _check_apart(jobs)
    return jobs


def _images(source: Path) -> list[Path]:
    if is_file_or_zarr(source):
        return [source]
    files: list[Path] = []
    if source.is_dir():
        files = image_files(source)
    elif _GLOB.search(str(source)):
        anchor = Path(source.anchor)
        pattern = source.relative_to(anchor) if source.is_absolute() else source
        files = sorted(path for path in anchor.glob(str(pattern)) if is_file_or_zarr(path))
    if not files:
        raise FileNotFoundError(f"input: wanted an image or a folder of images, got {source}")
    return files


def _sequence_frames(source: Path) -> list[Path]:
    if not source.is_dir():
        return []
    sequences = [source, *sorted(path for path in source.iterdir() if path.is_dir())]
    return [
        path
        for sequence in sequences
        if _SEQUENCE.fullmatch(sequence.resolve().name)
        for path in sorted(sequence.iterdir())
        if _FRAME.fullmatch(path.name)
    ]


def _challenge_job(frame: Path, output: Path, probabilities: bool) -> Job:
    folder = output / f"{frame.resolve().parent.name}_RES"
    number = frame.stem[1:]
    probable = output / f"{frame.resolve().parent.name}_probabilities" / f"{frame.stem}_probabilities.tif"
    return Job(frame, folder / f"mask{number}.tif", probable if probabilities else None)


def _named_job(image: Path, output: Path, probabilities: bool, zarr: Version | None) -> Job:
    name, suffix = image_stem(image), ".tif" if zarr is None else ".ome.zarr"
    probable = output / f"{name}_probabilities{suffix}" if probabilities else None
    return Job(image, output / f"{name}_labels{suffix}", probable, zarr=zarr)


def _version(image: Path, form: OutputFormat) -> Version | None:
    """Return the version of OME-Zarr in which results are written, if they are."""
    if form == "tiff" or (form == "auto" and not is_zarr(image)):
        return None
    return "0.4" if form == "ome-zarr-0.4" or (is_zarr(image) and version_of(image) == "0.4") else "0.5"


def _without_format(path: Path) -> Path:
    return path.resolve().with_name(image_stem(path))


def _check_apart(jobs: Iterable[Job]) -> None:
    images: dict[Path, Path] = {}
    for job in jobs:
        for result in job.results:
            if result in images:
                raise ValueError(
                    f"input: wanted names that differ before the suffix, got {images[result].name} and "
                    f"{job.image.name}, which would both become {result.name}"
                )
            images[result] = job.image
