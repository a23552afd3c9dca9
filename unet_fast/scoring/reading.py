"""Read truths and predictions, and tell what their values mean."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unet_fast.data.images import Planes, read_label_stack, read_planes
from unet_fast.data.label_kinds import IGNORED_CLASS, Meaning, instances_and_classes, tell_meaning
from unet_fast.data.layouts.found import LabelKind
from unet_fast.instances import label_instances
from unet_fast.scoring.pairs import Pair, Pairs

PredictionKind: TypeAlias = Literal["auto", "labels", "probabilities"]
Labels: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True)
class Truth:
    """All truths of an evaluation.

    Attributes:
        pairs: the files.
        codes: of each pair [N, H, W], as stored.
        meaning: of the codes.
    """

    pairs: tuple[Pair, ...]
    codes: tuple[Labels, ...]
    meaning: Meaning


@dataclass(frozen=True)
class Compared:
    """One image of truth and prediction, all [H, W].

    Attributes:
        name: of the image.
        instances: int32 ids of the truth's objects, 0 background.
        classes: int32 classes 0..K-1 of the truth, -1 ignored.
        labels: int32 ids of the predicted objects, 0 background.
        found_classes: int32 predicted classes.
        probability: float32, of foreground; 0 and 1 where labels were predicted.
    """

    name: str
    instances: Labels
    classes: Labels
    labels: Labels
    found_classes: Labels
    probability: NDArray[np.float32]


def read_truth(pairs: Pairs, kind: LabelKind | None) -> Truth:
    """Read all truths; `kind` says what they mean, None tells it from their place or values."""
    codes = tuple(read_label_stack(pair.truth).codes for pair in pairs.pairs)
    planes = [plane for stack in codes for plane in stack]
    try:
        meaning = tell_meaning(planes, kind or pairs.label_kind, pairs.ignore)
    except ValueError as error:
        raise ValueError(f"{pairs.pairs[0].truth.parent}: {error}") from None
    return Truth(pairs.pairs, codes, meaning)


@dataclass(frozen=True)
class _Prediction:
    """What one file or two say, all [N, H, W]; see `Compared`."""

    labels: Labels
    classes: Labels
    probability: NDArray[np.float32]


def compared_images(truth: Truth, kind: PredictionKind) -> Iterator[Compared]:
    """Read the predictions one by one and yield their images beside those of the truth."""
    for pair, codes in zip(truth.pairs, truth.codes, strict=True):
        found = _read_prediction(pair, len(codes), kind, truth.meaning)
        if found.labels.shape != codes.shape:
            raise ValueError(
                f"{pair.prediction}: wanted the size of the truth {pair.truth}, {_size(codes)}, "
                f"got {_size(found.labels)}"
            )
        for index, plane in enumerate(codes):
            instances, classes = instances_and_classes(plane, truth.meaning)
            target = np.clip(instances, -1, 1) if classes is None else classes.astype(np.int32)
            target[target == IGNORED_CLASS] = -1
            yield Compared(
                pair.name if len(codes) == 1 else f"{pair.name}[{index}]",
                np.maximum(instances, 0),
                target,
                found.labels[index],
                found.classes[index],
                found.probability[index],
            )


def _read_prediction(pair: Pair, pages: int, kind: PredictionKind, meaning: Meaning) -> _Prediction:
    read = [
        _read_file(path, role, pages, pair.plane, meaning)
        for path, role in ((pair.labels, kind), (pair.probabilities, "probabilities"))
        if path is not None
    ]
    if len(read) == 1:
        return read[0]
    labelled, probable = read
    if labelled.labels.shape != probable.labels.shape:
        raise ValueError(
            f"{pair.probabilities}: wanted the size of {pair.labels}, {_size(labelled.labels)}, "
            f"got {_size(probable.labels)}"
        )
    return replace(labelled, probability=probable.probability)


def _read_file(path: Path, kind: str, pages: int, plane: int | None, meaning: Meaning) -> _Prediction:
    planes = read_planes(path)
    pixels = planes.pixels if plane is not None else _fit(planes, pages)
    if kind == "labels" or (kind == "auto" and not _looks_probable(pixels, meaning)):
        return _from_labels(_chosen(read_label_stack(path).codes, plane, path), meaning, path)
    return _from_probabilities(_chosen(pixels, plane, path), path)


def _chosen(stack: NDArray[Any], plane: int | None, path: Path) -> NDArray[Any]:
    if plane is None:
        return stack
    if plane >= len(stack):
        raise ValueError(f"{path}: wanted a plane {plane} as the truth shows it, got {len(stack)} planes")
    return stack[plane : plane + 1]


def _from_labels(stored: Labels, meaning: Meaning, path: Path) -> _Prediction:
    probability = np.stack([separated(plane) for plane in stored]).astype(np.float32)
    labels = np.stack([_objects(plane) for plane in stored])
    if meaning.kind != "classes":
        return _Prediction(labels, (stored > 0).astype(np.int32), probability)
    strange = np.setdiff1d(stored, meaning.codes)
    if strange.size:
        raise ValueError(f"{path}: wanted the classes of the truth, {meaning.codes}, got {strange[0]}")
    return _Prediction(labels, np.searchsorted(meaning.codes, stored).astype(np.int32), probability)


def _from_probabilities(pixels: NDArray[Any], path: Path) -> _Prediction:
    if pixels.dtype.kind != "f":
        highest = 1 if pixels.max() <= 1 else np.iinfo(pixels.dtype).max
        pixels = pixels.astype(np.float32) / np.float32(highest)
    low, high = float(pixels.min()), float(pixels.max())
    if low < -1e-3 or high > 1 + 1e-3:  # the sum of rounded probabilities may be a little off
        raise ValueError(f"{path}: wanted probabilities in 0..1, got {low:g}..{high:g}")
    several = pixels.shape[1] > 1
    probability = np.clip(1 - pixels[:, 0] if several else pixels[:, 0], 0, 1)
    classes = pixels.argmax(axis=1) if several else probability > 0.5
    labels = np.stack([label_instances(plane > 0.5) for plane in probability])
    return _Prediction(labels, classes.astype(np.int32), probability)


def _objects(stored: Labels) -> Labels:
    """Return ids of objects [H, W]: those stored, or the pieces of a mask (one value beside 0)."""
    positive = stored[stored > 0]
    is_mask = positive.size == 0 or positive.min() == positive.max()
    return label_instances(stored > 0) if is_mask else np.maximum(stored, 0)


def _fit(planes: Planes, pages: int) -> NDArray[Any]:
    """Take pages without a name for the classes of one image where only that fits the truth."""
    if planes.unnamed == "planes" and pages == 1 != len(planes.pixels):
        return planes.as_channels()
    if planes.unnamed == "channels" and planes.pixels.shape[1] == pages:
        return planes.as_channels()
    return planes.pixels


def _looks_probable(pixels: NDArray[Any], meaning: Meaning) -> bool:
    """Tell probabilities from labels: floats that are no whole numbers, or grey values that change at every pixel."""
    if pixels.dtype.kind == "f":
        return pixels.shape[1] > 1 or not (pixels == np.round(pixels)).all()
    if pixels.dtype != np.uint8 or pixels.shape[1] != 1 or meaning.kind == "classes":
        return False
    between = (pixels > 0) & (pixels < pixels.max())
    same = (pixels[..., 1:-1] == pixels[..., :-2]) & (pixels[..., 1:-1] == pixels[..., 2:])
    inner = between[..., 1:-1]
    return bool(inner.any() and same[inner].mean() < 0.5)


def separated(labels: Labels) -> NDArray[np.bool_]:
    """Return the mask of objects [H, W] with a line of background, one pixel wide, between those that touch."""
    mask = labels > 0
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        mask[here] &= (labels[here] == labels[there]) | (labels[there] == 0)
    return mask


def _size(stack: NDArray[Any]) -> str:
    count, height, width = stack.shape
    return f"{height}x{width}" if count == 1 else f"{count} pages of {height}x{width}"
