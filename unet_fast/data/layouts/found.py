"""What a search for training data finds: which label file belongs to which image files, and how sure that is."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unet_fast.data.formats import SUFFIXES, is_zarr

LabelKind = Literal["instances", "mask", "classes", "freiburg"]


@dataclass(frozen=True)
class Sample:
    """Files that belong together.

    Attributes:
        name: unique within a layout, such as "01/t003".
        images: one file, or one file for each channel.
        labels: label image, or stack of as many pages as the image.
        markers: label image that marks every object, also those without a mask in `labels`; None if there is none.
    """

    name: str
    images: tuple[Path, ...]
    labels: Path
    markers: Path | None = None


@dataclass(frozen=True)
class Layout:
    """The training data of a folder.

    Attributes:
        kind: name of the layout, for people to read.
        folder: where it was found.
        samples: at least one, in natural order of their names.
        notes: what was left out and what was chosen, a sentence each.
        label_kind: what the layout says about the labels; None: their values have to tell.
        classes: names of the classes by their code in the label files; empty if the layout tells none.
        ignore: code in the label files of pixels that belong to no class; None if there is none.
        channels: number of channels that the layout declares; None if it declares none.
    """

    kind: str
    folder: Path
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    label_kind: LabelKind | None = None
    classes: tuple[str, ...] = ()
    ignore: int | None = None
    channels: int | None = None


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """List what can be read as images in a folder, in natural order ("t2" before "t10"): files, and OME-Zarr images."""
    shown = (path for path in Path(folder).iterdir() if not path.name.startswith("."))
    images = (path for path in shown if is_zarr(path) or (path.is_file() and path.suffix.lower() in SUFFIXES))
    return sorted(images, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def folders(folder: Path) -> list[Path]:
    """List the folders in a folder, in natural order, without hidden ones and OME-Zarr images."""
    found = (path for path in folder.iterdir() if path.is_dir() and not (path.name.startswith(".") or is_zarr(path)))
    return sorted(found, key=lambda path: natural_key(path.name))


def several(names: Iterable[str], shown: int = 3) -> str:
    """Name the first few of many: "a, b, c and 7 more"."""
    listed = list(names)
    rest = len(listed) - shown
    return ", ".join(listed[:shown]) + (f" and {rest} more" if rest > 0 else "")


def counted(number: int, thing: str) -> str:
    """Say how many: "1 image", "2 images"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
