"""Draw labelled images of crowded, touching cells that look as under phase contrast: the training set without files.

Inside and outside are of the same mean grey, so no threshold finds the cells; what tells them is the dark rim, the
bright halo outside and the grain inside. Many cells touch with a gap of 0 or 1 pixels, so the border term of the weight
map matters.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_fast.data.dataset import LabelledImages, Origin
from unet_fast.data.label_kinds import Labels

Plane = NDArray[np.float64]  # [H, W]


def synthetic_cells(count: int = 16, size: int | tuple[int, int] = (256, 320), seed: int = 0) -> LabelledImages:
    """Draw images of touching cells with their instance labels.

    Args:
        count: number of images, from 1.
        size: side of the images in pixels, from 32: one number, or the range that each height and width is drawn from.
        seed: the same seed gives the same images; image i is the same whatever the count.

    Returns:
        uint8 images of one channel with instances from 1.

    Raises:
        ValueError: a number lies outside its range.
    """
    low, high = (size, size) if isinstance(size, int) else size
    if count < 1:
        raise ValueError(f"synthetic_cells: count: wanted at least 1, got {count}")
    if not 32 <= low <= high:
        raise ValueError(f"synthetic_cells: size: wanted at least 32 pixels and a rising range, got {size}")
    images, instances = [], []
    for index in range(count):
        random = np.random.default_rng((seed, index))
        height, width = random.integers(low, high, 2, endpoint=True).tolist()
        labels = _place_cells(random, height, width)
        images.append(_phase_contrast(random, labels)[None])
        instances.append(labels)
    origin = Origin("synthetic cells", "int32; ids of objects (instances)", ("drawn, not photographed",))
    return LabelledImages(images, instances, [f"cells{index:03d}" for index in range(count)], origin=origin)


def _place_cells(random: np.random.Generator, height: int, width: int) -> Labels:
    """Place blobs in clumps; a pixel belongs to the cell that it lies deepest in, so overlap becomes contact."""
    labels = np.zeros((height, width), dtype=np.int32)
    depth = np.ones((height, width))  # radius over the radius of the outline: below 1 inside
    centres: list[tuple[float, float, float]] = []
    for _ in range(height * width // 1000):
        radius = random.uniform(8, 17)
        centre = _centre(random, height, width, radius, centres)
        if centre is None:
            continue
        centres.append((*centre, radius))
        _draw(random, labels, depth, centre, radius, len(centres))
    _cut_gaps(random, labels)
    return _whole_cells(labels)


def _centre(
    random: np.random.Generator,
    height: int,
    width: int,
    radius: float,
    centres: Sequence[tuple[float, float, float]],
) -> tuple[float, float] | None:
    """Find room for a cell, mostly beside one that is there already; None after a few tries."""
    for _ in range(8):
        if centres and random.random() < 0.7:
            y, x, other = centres[int(random.integers(len(centres)))]
            angle, distance = random.uniform(0, 2 * np.pi), random.uniform(0.85, 1.0) * (radius + other)
            y, x = y + distance * np.sin(angle), x + distance * np.cos(angle)
        else:
            y, x = random.uniform(0, height), random.uniform(0, width)
        inside = 0 <= y < height and 0 <= x < width
        if inside and all((y - v) ** 2 + (x - u) ** 2 > (0.8 * (radius + other)) ** 2 for v, u, other in centres):
            return y, x
    return None


def _draw(
    random: np.random.Generator,
    labels: Labels,
    depth: Plane,
    centre: tuple[float, float],
    radius: float,
    label: int,
) -> None:
    """Draw one cell: an ellipse whose radius wavers with the angle."""
    reach = int(2 * radius)
    top, left = (max(0, round(middle) - reach) for middle in centre)
    box = np.s_[top : round(centre[0]) + reach + 1, left : round(centre[1]) + reach + 1]
    y, x = np.ogrid[box[0].start : box[0].stop, box[1].start : box[1].stop]
    y, x = y[: labels[box].shape[0]] - centre[0], x[:, : labels[box].shape[1]] - centre[1]
    turn, stretch = random.uniform(0, np.pi), random.uniform(1.0, 1.5)
    along = (x * np.cos(turn) + y * np.sin(turn)) / np.sqrt(stretch)
    across = (y * np.cos(turn) - x * np.sin(turn)) * np.sqrt(stretch)
    angle = np.arctan2(across, along)
    waves = zip((2, 3, 4), random.uniform(0, 0.08, 3), random.uniform(0, 2 * np.pi, 3), strict=True)
    outline = radius * (1 + sum(height * np.cos(number * angle + phase) for number, height, phase in waves))
    here = np.hypot(along, across) / outline
    deeper = here < depth[box]
    labels[box][deeper] = label
    depth[box][deeper] = here[deeper]


def _cut_gaps(random: np.random.Generator, labels: Labels) -> None:
    """Give every other cell a gap of one pixel towards the cells that it touches."""
    cut = np.flatnonzero(random.random(labels.max() + 1) < 0.35)
    highest = ndimage.maximum_filter(labels, 3)
    lowest = -ndimage.maximum_filter(np.where(labels > 0, -labels, -np.iinfo(np.int32).max), 3)
    labels[np.isin(labels, cut) & (highest > 0) & (lowest < highest) & (lowest < labels)] = 0


def _whole_cells(labels: Labels) -> Labels:
    """Keep the largest piece of each cell, drop crumbs, and number from 1."""
    kept = np.zeros_like(labels)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if not box:
            continue  # another cell hid it
        numbered, _ = ndimage.label(labels[box] == label)
        sizes = np.bincount(numbered.ravel())[1:]
        if sizes.size and sizes.max() >= 30:
            kept[box][numbered == 1 + sizes.argmax()] = kept.max() + 1
    return kept


def _phase_contrast(random: np.random.Generator, labels: Labels) -> NDArray[np.uint8]:
    """Render cells: dark rim, bright halo, grain and a nucleus inside, uneven light, dirt, blur and noise."""
    inside = labels > 0
    outside_distance = ndimage.distance_transform_edt(~inside)
    borders = ndimage.maximum_filter(labels, 3) != labels
    inside_distance = ndimage.distance_transform_edt(inside & ~borders)

    shade = random.normal(0, 0.05, labels.max() + 1)
    shade[0] = 0
    light = ndimage.zoom(
        random.normal(0, 0.09, (3, 3)), np.array(labels.shape) / 3, order=3, grid_mode=True, mode="mirror"
    )
    image = 0.45 + light + shade[labels]
    image += np.where(inside, 0, 0.28 * np.exp(-outside_distance / 2.5))
    image -= np.where(inside, 0.16 * np.exp(-((inside_distance - 0.5) ** 2) / 3), 0)
    image += np.where(inside, 0.06, 0.035) * _grain(random, labels.shape, 1.6)
    image += 0.05 * _grain(random, labels.shape, 6.0)
    image -= np.where(inside_distance > 5, 0.05, 0)
    dirt = random.random(labels.shape) < 4e-4
    image += 1.2 * ndimage.gaussian_filter(dirt * random.normal(0, 1, labels.shape), 1.0)
    image = ndimage.gaussian_filter(image, 0.7) + random.normal(0, 0.03, labels.shape)
    return np.asarray(np.clip(image * 255, 0, 255), dtype=np.uint8)


def _grain(random: np.random.Generator, shape: tuple[int, ...], width: float) -> Plane:
    """Return smooth noise of standard deviation 1 and grains of a width in pixels."""
    noise = ndimage.gaussian_filter(random.normal(0, 1, shape), width)
    return np.asarray(noise / noise.std(), dtype=np.float64)
