"""One file for each image and one for its labels, matched by their stems.

In two folders (`images` and `masks`, zhixuhao's `train/image` and `train/label`, StarDist, milesial's `NAME_mask`)
or in one (cellpose's `NAME.tif` and `NAME_masks.tif`).
"""

import re
from pathlib import Path

from unet_fast.data.formats import image_stem
from unet_fast.data.layouts.found import Layout, Sample, counted, folders, image_files, several

FOLDERS = "two folders: images|imgs|image with masks|labels|label (also under train/), files matched by stem"
SUFFIXED = "one folder: NAME.tif with NAME_masks.tif (or _mask, _labels, _label, _seg)"

_IMAGE_FOLDERS = ("images", "imgs", "image", "img", "raw")
_LABEL_FOLDERS = ("masks", "labels", "label", "mask", "instances", "annotations", "gt", "groundtruth", "segmentation")
_PARENTS = ("", "train", "training")
_LABEL_SUFFIX = re.compile(r"(.+?)[-_. ](?:cp_)?(?:masks?|labels?|seg|gt|instances?|segmentation)", re.IGNORECASE)
_LABEL_PREFIX = re.compile(r"(?:masks?|labels?|seg|gt)[-_. ]?(.+)", re.IGNORECASE)
_IMAGE_SUFFIX = re.compile(r"(.+)[-_. ](?:img|image|raw)", re.IGNORECASE)
_IMAGE_PREFIX = re.compile(r"(?:imgs?|images?|raw)[-_. ]?(.+)", re.IGNORECASE)


def find_in_folders(folder: Path, images: str | None, labels: str | None) -> Layout | None:
    """Find pairs in two folders side by side (see `find_samples`)."""
    for parent in _PARENTS:
        root = folder / parent
        if not root.is_dir():
            continue
        by_name = {path.name.lower(): path for path in folders(root)}
        image_folders = _named(by_name, _IMAGE_FOLDERS, images)
        label_folders = _named(by_name, _LABEL_FOLDERS, labels)
        if not image_folders or not label_folders:
            continue
        notes = []
        if len(label_folders) > 1:
            others = several(path.name for path in label_folders[1:])
            notes = [
                f'the labels are those of {label_folders[0].name}; {others} is there too (choose with labels="NAME")'
            ]
        samples, unmatched = _match(folder, image_files(image_folders[0]), image_files(label_folders[0]))
        return Layout("images and labels in two folders", folder, samples, (*notes, *unmatched))
    return None


def find_in_one_folder(folder: Path, images: str | None, labels: str | None) -> Layout | None:
    """Find pairs in one folder whose label files carry a suffix (see `find_samples`)."""
    if images is not None or labels is not None:
        return None
    files = image_files(folder)
    truth = [path for path in files if _LABEL_SUFFIX.fullmatch(image_stem(path))]
    others = [path for path in files if path not in truth]
    keys = {key for path in others for key in _image_keys(image_stem(path))}
    if not any(key in keys for path in truth for key in _label_keys(image_stem(path))):
        return None
    samples, notes = _match(folder, others, truth)
    return Layout("images and labels in one folder", folder, samples, tuple(notes))


def _match(folder: Path, images: list[Path], truth: list[Path]) -> tuple[tuple[Sample, ...], list[str]]:
    _refuse_same_stem(images)
    _refuse_same_stem(truth)
    by_key: dict[str, Path] = {}
    for path in images:
        for key in _image_keys(image_stem(path)):
            by_key.setdefault(key, path)
    by_key |= {image_stem(path): path for path in images}
    pairs: dict[Path, Path] = {}
    strangers = []
    for path in truth:
        image = next((by_key[key] for key in _label_keys(image_stem(path)) if key in by_key), None)
        if image is None:
            strangers.append(path.name)
        elif image in pairs:
            raise ValueError(f"{image}: wanted one label image, got {pairs[image].name} and {path.name}")
        else:
            pairs[image] = path
    if not pairs:
        raise ValueError(
            f"{folder}: no label image belongs to an image: wanted the same stems, got images "
            f"{several(path.name for path in images) or 'none'} and labels {several(strangers) or 'none'}"
        )
    bare = [path.name for path in images if path not in pairs]
    notes = [f"{counted(len(bare), 'image')} without a label image ({several(bare)})"] if bare else []
    notes += [f"{counted(len(strangers), 'label image')} without an image ({several(strangers)})"] if strangers else []
    return tuple(Sample(image_stem(image), (image,), pairs[image]) for image in images if image in pairs), notes


def _image_keys(stem: str) -> list[str]:
    return [stem, *_without(stem, _IMAGE_SUFFIX, _IMAGE_PREFIX)]


def _label_keys(stem: str) -> list[str]:
    return [stem, *_without(stem, _LABEL_SUFFIX, _LABEL_PREFIX)]


def _without(stem: str, *patterns: re.Pattern[str]) -> list[str]:
    return [match[1] for pattern in patterns if (match := pattern.fullmatch(stem))]


def _named(by_name: dict[str, Path], usual: tuple[str, ...], asked: str | None) -> list[Path]:
    names = usual if asked is None else (asked.lower(),)
    return [by_name[name] for name in names if name in by_name]


def _refuse_same_stem(files: list[Path]) -> None:
    stems: dict[str, Path] = {}
    for path in files:
        if image_stem(path) in stems:
            raise ValueError(f"{path}: wanted one file of this stem, got {stems[image_stem(path)].name} too")
        stems[image_stem(path)] = path
