"""Find the training data in a folder: which layout it has, and which label image belongs to which image."""

import os
from pathlib import Path

from unet_fast.data.layouts import cell_tracking, nnunet, pairs, stacks
from unet_fast.data.layouts.found import LabelKind, Layout, Sample, folders, image_files, several

__all__ = ["LabelKind", "Layout", "Sample", "find_samples", "image_files"]

# The order matters: `labelsTr` is no folder of pairs, and a stack's name may end as that of a pair.
_LAYOUTS = (cell_tracking.find, nnunet.find, pairs.find_in_folders, stacks.find, pairs.find_in_one_folder)
_DESCRIPTIONS = (
    stacks.DESCRIPTION,
    cell_tracking.DESCRIPTION,
    nnunet.DESCRIPTION,
    pairs.FOLDERS,
    pairs.SUFFIXED,
)


def find_samples(folder: str | os.PathLike[str], *, images: str | None = None, labels: str | None = None) -> Layout:
    """Find the labelled images in a folder.

    Understood are stacks (ISBI 2012), Cell Tracking Challenge sequences, nnU-Net data sets, and images and labels
    matched by stem in two folders or in one.

    Args:
        folder: the data set.
        images: name of the image file or folder in it, where it has another name than usual.
        labels: name of the label file or folder in it, where it has another name or there are several;
            "GT" or "ST" for the Cell Tracking Challenge.

    Returns:
        The layout with at least one sample.

    Raises:
        NotADirectoryError: `folder` is no folder.
        ValueError: the folder has none of the layouts, or the files in it do not fit together.
    """
    path = Path(folder).absolute()
    if not path.is_dir():
        raise NotADirectoryError(f"{folder}: wanted a folder with training data, found none")
    for find in _LAYOUTS:
        layout = find(path, images, labels)
        if layout is not None:
            return layout
    raise ValueError(_not_understood(path, images, labels))


def _not_understood(folder: Path, images: str | None, labels: str | None) -> str:
    below = folders(folder)
    there = [f"{path.name}/" for path in below] + sorted(path.name for path in folder.iterdir() if path.is_file())
    asked = "".join(f' with {key}="{value}"' for key, value in (("images", images), ("labels", labels)) if value)
    lines = [f"{folder}: no labelled images were found{asked}. There is: {several(there, 8) or 'nothing'}."]
    inside = [path.name for path in below if any(_finds(find, path) for find in _LAYOUTS)]
    if inside:
        lines.append(f"Labelled images lie in {several(inside, 8)}: name that folder.")
    lines.append("Understood are:")
    return "\n".join(lines + [f"  - {description}" for description in _DESCRIPTIONS])


def _finds(find: object, folder: Path) -> bool:
    try:
        return callable(find) and find(folder, None, None) is not None
    except ValueError:
        return False
