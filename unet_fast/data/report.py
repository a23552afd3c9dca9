"""Say in plain words what labelled images hold, and what in them looks like a mistake."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from unet_fast.data.dataset import LabelledImages
from unet_fast.data.label_kinds import Labels
from unet_fast.data.layouts.found import counted

_NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))  # (y, x) steps: every pair of 8-neighbours once


def describe(data: LabelledImages) -> str:
    """Return the report that is printed before training: a few lines, then the warnings."""
    lines = [f"{data.origin.title}, {counted(len(data), 'labelled image')}"]
    if len(data):
        low, high = min(image.min() for image in data.images), max(image.max() for image in data.images)
        lines += [
            f"  images      {_sizes(data)}, {counted(data.channels, 'channel')}, {data.images[0].dtype.name}, "
            f"values {low:g}..{high:g}",
            f"  labels      {data.origin.labels or 'in memory'}",
            f"  classes     {_classes(data)}",
            f"  objects     {_objects(data)}",
        ]
    lines += [f"  note        {note}" for note in data.origin.notes]
    lines += [f"  warning     {warning}" for warning in (*data.origin.warnings, *suspicions(data))]
    return "\n".join(lines)


def suspicions(data: LabelledImages) -> list[str]:
    """List what a set of this kind seldom means: no foreground, a class without pixels, blank images."""
    if not len(data):
        return ["there is no image"]
    found = []
    counts = data.class_pixels()
    empty = [name for name, labels in zip(data.names, data.instances, strict=True) if not (labels > 0).any()]
    if len(empty) == len(data):
        found.append("every label image is background from edge to edge: nothing can be learned")
    elif len(empty) > len(data) / 2:
        found.append(f"{len(empty)} of {len(data)} label images hold no foreground (such as {empty[0]})")
    elif counts[0] == 0:
        found.append("no pixel is background: nothing can be learned")
    missing = [name for name, count in zip(data.class_names, counts, strict=True) if count == 0]
    if missing and data.class_count > 2:
        found.append(f"no pixel belongs to {', '.join(missing)}")
    blank = [name for name, image in zip(data.names, data.images, strict=True) if image.min() == image.max()]
    if blank:
        found.append(f"{counted(len(blank), 'image')} of one grey value from edge to edge (such as {blank[0]})")
    return found


def touching(instances: Labels) -> tuple[int, int]:
    """Count the objects of an instance map [H, W], and those with a pixel beside another object's (8-neighbours)."""
    ids = np.unique(instances[instances > 0])
    met: list[NDArray[np.int32]] = []
    height, width = instances.shape
    for down, right in _NEIGHBOURS:
        here = instances[: height - down, max(0, -right) : width - max(0, right)]
        there = instances[down:, max(0, right) : width + min(0, right)]
        meet = (here > 0) & (there > 0) & (here != there)
        met += [here[meet], there[meet]]
    return ids.size, np.unique(np.concatenate(met)).size


def _sizes(data: LabelledImages) -> str:
    sizes = Counter(image.shape[1:] for image in data.images)
    if len(sizes) <= 3:
        return ", ".join(f"{number} of {height}x{width}" for (height, width), number in sizes.most_common())
    (h0, w0), (h1, w1) = (tuple(limit(size[axis] for size in sizes) for axis in (0, 1)) for limit in (min, max))
    return f"{len(data)} of {len(sizes)} sizes, heights {h0}..{h1}, widths {w0}..{w1}"


def _classes(data: LabelledImages) -> str:
    counts = data.class_pixels()
    pixels = sum(labels.size for labels in data.instances)
    shares = [f"{name} {100 * count / pixels:.1f} %" for name, count in zip(data.class_names, counts, strict=True)]
    ignored = pixels - int(counts.sum())
    if ignored:
        shares.append(f"ignored {100 * ignored / pixels:.1f} %")
    return ", ".join(shares)


def _objects(data: LabelledImages) -> str:
    found = [touching(labels) for labels in data.instances]
    total, close = (sum(numbers) for numbers in zip(*found, strict=True))
    if not total:
        return "none"
    return f"{total} ({total / len(data):.1f} an image), {100 * close / total:.0f} % touch another"
