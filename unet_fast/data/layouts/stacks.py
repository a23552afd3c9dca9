"""Image and label stacks side by side in one folder: ISBI 2012's `train-volume.tif` and `train-labels.tif`."""

import re
from pathlib import Path

from unet_fast.data.formats import TIFF_SUFFIXES, image_stem
from unet_fast.data.layouts.found import Layout, Sample, image_files, several

DESCRIPTION = "stacks: train-volume.tif with train-labels.tif (or raw.tif with labels.tif) in one folder"

_ENDS = r"(?P<before>(?:.*[^a-z])?){}(?P<after>(?:[^a-z].*)?)"
_IMAGES = re.compile(_ENDS.format("(?:volumes?|raw|stack|images?)"), re.IGNORECASE)
_LABELS = re.compile(_ENDS.format("(?:labels?|membranes?|masks?|segmentation|truth)"), re.IGNORECASE)


def find(folder: Path, images: str | None, labels: str | None) -> Layout | None:
    """Find stacks whose names differ in the words "volume" and "labels" alone, or a lone image (see `find_samples`)."""
    files = [path for path in image_files(folder) if path.suffix.lower() in TIFF_SUFFIXES]
    truth = [path for path in files if _is(path, labels, _LABELS)]
    volumes = [path for path in files if _is(path, images, _IMAGES) and path not in truth]
    notes = []
    pairs = _same_rest(volumes, truth)
    if not pairs and len(volumes) == 1 and truth:
        chosen = min(truth, key=lambda path: "label" not in image_stem(path).lower())
        pairs = [(volumes[0], chosen)]
        if len(truth) > 1:
            others = several(path.name for path in truth if path != chosen)
            notes.append(f'the labels are those of {chosen.name}; {others} is there too (choose with labels="NAME")')
    if not pairs:
        return None
    bare = [path.name for path in volumes if path not in {volume for volume, _ in pairs}]
    if bare:
        notes.append(f"left out for want of labels: {several(bare)}")
    samples = tuple(Sample(image_stem(volume), (volume,), label) for volume, label in pairs)
    return Layout("image stacks", folder, samples, tuple(notes))


def _is(path: Path, name: str | None, words: re.Pattern[str]) -> bool:
    return words.fullmatch(image_stem(path)) is not None if name is None else name in {path.name, image_stem(path)}


def _same_rest(volumes: list[Path], truth: list[Path]) -> list[tuple[Path, Path]]:
    """Pair "train-volume" with "train-labels": what is left without the telling word is the same."""
    by_rest = {_rest(_LABELS, path): path for path in truth}
    return [(path, by_rest[_rest(_IMAGES, path)]) for path in volumes if _rest(_IMAGES, path) in by_rest]


def _rest(words: re.Pattern[str], path: Path) -> tuple[str, str]:
    match = words.fullmatch(image_stem(path))
    return (match["before"], match["after"]) if match else (image_stem(path), "")
