"""Random instance maps that the tests of the label operators share."""

import numpy as np
import torch
from scipy import ndimage

LABEL_DTYPES = [torch.uint8, torch.uint16, torch.uint32, torch.int32, torch.int64]
SIZES = [(1, 1), (1, 40), (37, 1), (2, 2), (15, 16), (16, 17), (33, 63), (31, 64), (32, 65), (50, 131)]


def random_labels(
    shape: tuple[int, int, int], instances: int, generator: torch.Generator, background: float = 0.4
) -> torch.Tensor:
    """Draw a [N, H, W] int64 map of the nearest of `instances` random points, many of them touching.

    The ids 1 to `instances` appear unless another point hides them; pixels far from their point are background.
    """
    images, height, width = shape
    size = torch.tensor([height, width], dtype=torch.float32)
    points = torch.rand(images, instances, 2, generator=generator) * size
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    distance, nearest = torch.cdist(pixels.expand(images, -1, -1), points).min(-1)
    reach = distance.flatten().quantile(1 - background) if distance.numel() else 0
    return torch.where(distance <= reach, nearest + 1, 0).reshape(shape)


def noise_labels(shape: tuple[int, int, int], ids: int, generator: torch.Generator) -> torch.Tensor:
    """Draw every pixel from 0 to `ids` on its own: as many touching instances as there can be."""
    return torch.randint(0, ids + 1, shape, generator=generator)


def scan_gap(labels: np.ndarray) -> np.ndarray:
    """Cut the gap of one [H, W] map as the released code does: pixel by pixel, in place."""
    labels = labels.astype(np.int64)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                if y + dy >= 0 and 0 <= x + dx < width and 0 < labels[y + dy, x + dx] != labels[y, x] > 0:
                    labels[y, x] = 0
    return labels


def edt_two_nearest(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure d1 and d2 of one [H, W] map with one distance transform per instance (float64)."""
    nearest = np.full((2, *labels.shape), np.inf)
    for instance in np.unique(labels[labels > 0]):
        distance = ndimage.distance_transform_edt(labels != instance)
        nearest = np.sort(np.stack([*nearest, distance]), axis=0)[:2]
    return nearest[0], nearest[1]
