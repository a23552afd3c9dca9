"""Load the training data of a folder, whatever its layout, into memory."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unet_fast.data.dataset import LabelledImages, Origin
from unet_fast.data.images import Image, Planes, read_label_stack, read_labels, read_planes
from unet_fast.data.label_kinds import IGNORED, Labels, Meaning, instances_and_classes, tell_meaning
from unet_fast.data.layouts import LabelKind, Layout, Sample, find_samples
from unet_fast.data.layouts.found import counted, several


@dataclass(frozen=True)
class _Read:
    """What the files of one sample hold: images [N, C, H, W], codes [N, H, W], markers [H, W] or None."""

    sample: Sample
    images: Image
    codes: Labels
    stored: str
    markers: Labels | None

    def names(self) -> list[str]:
        count = len(self.codes)
        return [self.sample.name] if count == 1 else [f"{self.sample.name}[{page}]" for page in range(count)]


def load_folder(
    folder: str | os.PathLike[str],
    *,
    images: str | None = None,
    labels: str | None = None,
    label_kind: LabelKind | None = None,
    ignore: int | None = None,
) -> LabelledImages:
    """Load all labelled images of a folder.

    Args:
        folder: the data set, in one of the layouts of `find_samples`.
        images: name of the image file or folder in it, where it has another name than usual.
        labels: name of the label file or folder in it, where there are several or it has another name than usual.
        label_kind: "instances", "mask", "classes", or "freiburg" (0 ignored, 1 background, ids from 2); None takes
            what the layout says, or else tells it from the values (see `label_kinds`).
        ignore: code in the label files of pixels to leave out; None takes what the layout says.

    Returns:
        The images in the natural order of their names. Images of different dtypes are brought to one.

    Raises:
        NotADirectoryError: `folder` is no folder.
        ValueError: no labelled images are there, or an image and its labels do not fit together.
    """
    layout = find_samples(folder, images=images, labels=labels)
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(_read, layout.samples))
    _refuse_other_channels(layout, read)
    kind = label_kind or layout.label_kind
    ignore = layout.ignore if ignore is None else ignore
    codes = [page for one in read for page in one.codes]
    files = [str(one.sample.labels) for one in read for _ in one.codes]
    meaning = tell_meaning(codes, kind, ignore, len(layout.classes) if kind == "classes" else 0, files)
    maps = [instances_and_classes(page, meaning) for page in codes]
    instances = [one for one, _ in maps]
    classes = [one for _, one in maps if one is not None]
    pixels, converted = _one_dtype([page for one in read for page in one.images])
    stored = sorted({one.stored for one in read})
    return LabelledImages(
        images=pixels,
        instances=instances,
        names=[name for one in read for name in one.names()],
        classes=classes or None,
        class_names=_class_names(meaning, layout),
        label_kind=meaning.kind,
        origin=Origin(
            title=f"{Path(folder).absolute().name}: {layout.kind}",
            labels=f"{', '.join(stored)}; {_in_words(meaning, told=kind is None)}",
            notes=(*layout.notes, *converted, *_ignore_unmasked(read, instances)),
            warnings=tuple(_label_warnings(stored, meaning)),
        ),
    )


def _read(sample: Sample) -> _Read:
    stack = read_label_stack(sample.labels)
    codes = stack.codes
    channels = [_fit(read_planes(path), len(codes)) for path in sample.images]
    for path, pixels in zip(sample.images, channels, strict=True):
        if (len(pixels), *pixels.shape[2:]) != codes.shape:
            raise ValueError(
                f"{path}: wanted the size of its labels {sample.labels}, {_size(codes)}, got {_size(pixels[:, 0])}"
            )
    markers = None if sample.markers is None else read_labels(sample.markers)
    if markers is not None and markers.shape != codes.shape[1:]:
        raise ValueError(f"{sample.markers}: wanted the size of {sample.labels}, {_size(codes)}, got {_size(markers)}")
    return _Read(sample, np.concatenate(channels, axis=1), codes, stack.stored, markers)


def _fit(planes: Planes, count: int) -> Image:
    """Take pages without a name for the channels of one image, or the reverse, where only that fits the labels."""
    pages, channels = planes.pixels.shape[:2]
    if (planes.unnamed == "planes" and count == 1 != pages) or (planes.unnamed == "channels" and count == channels):
        return planes.as_channels()
    return planes.pixels


def _size(pages: Labels | Image) -> str:
    height, width = pages.shape[-2:]
    return f"{height}x{width}" if pages.ndim == 2 or len(pages) == 1 else f"{len(pages)} pages of {height}x{width}"


def _refuse_other_channels(layout: Layout, read: Sequence[_Read]) -> None:
    wanted, whose = layout.channels, "dataset.json"
    if wanted is None:
        wanted, whose = read[0].images.shape[1], str(read[0].sample.images[0])
    for one in read:
        if one.images.shape[1] != wanted:
            raise ValueError(
                f"{one.sample.images[0]}: wanted {counted(wanted, 'channel')} as in {whose}, got {one.images.shape[1]}"
            )


def _one_dtype(images: list[Image]) -> tuple[list[Image], list[str]]:
    """Stretch the range of the narrower dtypes to that of the widest: 255 becomes 65535, or 1 among floats."""
    dtypes = {image.dtype for image in images}
    if len(dtypes) == 1:
        return images, []
    names = ", ".join(sorted(dtype.name for dtype in dtypes))
    if np.dtype(np.float32) not in dtypes:
        wide = [image.astype(np.uint16) * np.uint16(257) if image.dtype == np.uint8 else image for image in images]
        return wide, [f"images are of {names}: 0..255 was stretched to 0..65535"]
    real = [
        image if image.dtype == np.float32 else (image / np.float32(np.iinfo(image.dtype).max)).astype(np.float32)
        for image in images
    ]
    return real, [f"images are of {names}: the ranges of whole numbers were brought to 0..1"]


def _ignore_unmasked(read: Sequence[_Read], instances: list[Labels]) -> list[str]:
    """Set to `IGNORED` the markers of objects whose outline nobody drew."""
    unmasked = 0
    places = iter(instances)
    for one in read:
        for labels in [next(places) for _ in one.codes]:
            if one.markers is None:
                continue
            marked = np.unique(one.markers[one.markers > 0])
            bare = np.setdiff1d(marked, one.markers[labels > 0])
            labels[np.isin(one.markers, bare)] = IGNORED
            unmasked += bare.size
    return [f"{counted(unmasked, 'marker')} of objects without a mask: ignored"] if unmasked else []


def _class_names(meaning: Meaning, layout: Layout) -> tuple[str, ...]:
    if meaning.kind != "classes":
        return ("background", "foreground")
    return layout.classes or tuple(f"code {code}" for code in meaning.codes)


def _in_words(meaning: Meaning, *, told: bool) -> str:
    foreground = meaning.codes[-1] if meaning.codes else 0
    words = {
        "instances": "ids of objects (instances)",
        "mask": f"a mask ({foreground} is foreground): its 4-connected pieces are the objects",
        "classes": f"classes ({', '.join(map(str, meaning.codes))})",
        "freiburg": "0 ignored, 1 background, ids of objects from 2",
    }[meaning.kind]
    return words + (", told by the values" if told else "")


def _label_warnings(stored: Sequence[str], meaning: Meaning) -> list[str]:
    warnings = []
    if any(name.startswith("float") for name in stored):
        warnings.append("labels are stored as floating-point numbers; they are whole, and were taken as such")
    if "colours" in stored:
        warnings.append("labels are stored as colours; each colour was taken for a value, black for background")
    if meaning.blurred:
        warnings.append("masks hold grey values between 0 and 255 (JPEG?): from 128 on is foreground")
    if meaning.kind == "classes" and meaning.codes and meaning.codes[0] != 0:
        warnings.append(f"no label is 0: {several(map(str, meaning.codes[:1]))} was taken for background")
    return warnings
