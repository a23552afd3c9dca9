"""weight_map against scipy's Euclidean distance transform, one per cell, and against plain PyTorch.

The latter computes the distances of all pixels to all cells' pixels: only a small image allows that.
"""

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.agreement import close
from benchmarks.conftest import OURS
from benchmarks.instances import cells
from unet_fast import ops, reference

BORDER, SIGMA, MARGIN = 10.0, 5.0, 30  # beyond a margin of 6 sigma the border term is below 2e-7
CLASS_WEIGHT = [0.8, 1.3]


def weights_of(labels: np.ndarray, boxes: dict[int, tuple[slice, slice]]) -> torch.Tensor:
    """Compute equation (2) with one distance transform per cell inside its box, keeping the two least distances."""
    d1 = np.full(labels.shape, np.inf, np.float32)
    d2 = d1.copy()
    for cell, box in boxes.items():
        distance = ndimage.distance_transform_edt(labels[box] != cell).astype(np.float32)
        d2[box] = np.minimum(d2[box], np.maximum(d1[box], distance))
        d1[box] = np.minimum(d1[box], distance)
    classes = ops.target_classes(torch.from_numpy(labels)[None])
    term = torch.from_numpy(BORDER * np.exp(-((d1 + d2) ** 2) / (2 * SIGMA**2)))
    return torch.tensor(CLASS_WEIGHT, device="cpu")[classes.long()] + term * (classes == 0)


def cropped(labels: np.ndarray) -> torch.Tensor:
    boxes = {
        cell: tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in box)
        for cell, box in enumerate(ndimage.find_objects(labels), start=1)
        if box
    }
    return weights_of(labels, boxes)


def full(labels: np.ndarray) -> torch.Tensor:
    return weights_of(labels, {cell: (slice(None), slice(None)) for cell in np.unique(labels[labels > 0])})


@pytest.mark.parametrize(("count", "side"), [(110, 256), (60, 512), (450, 512), (4000, 2048)])
def test_weight_map(compare, device, count, side):
    labels, class_weight = cells(count, side).to(device), torch.tensor(CLASS_WEIGHT)
    rivals = {
        OURS: lambda: ops.weight_map(labels, class_weight, BORDER, SIGMA),
        "scipy EDT per cell, cropped": lambda: cropped(labels[0].cpu().numpy()),
    }
    if count <= 110:  # else seconds
        rivals["scipy EDT per cell, two running minima"] = lambda: full(labels[0].cpu().numpy())
    if side <= 256:
        rivals["plain PyTorch"] = lambda: reference.weight_map(labels, class_weight, BORDER, SIGMA)
    bytes_moved = side**2 * (4 + 1 + 4)  # labels, classes, weights
    compare(rivals, group="weight_map", agreement=close(1e-5), gbyte=bytes_moved / 1e9)


@pytest.mark.parametrize("count", [2, 60])
def test_few_cells_in_a_large_image(compare, device, count):
    """The time must not depend on how far the cells are apart."""
    labels, class_weight = torch.zeros(1, 2048, 2048, dtype=torch.int32), torch.tensor(CLASS_WEIGHT)
    if count == 2:
        labels[:, 100:110, 100:110], labels[:, 1900:1910, 1900:1910] = 1, 2
    else:
        labels[:, :512, :512] = cells(count, 512)
    compare(
        {
            OURS: lambda: ops.weight_map(labels, class_weight, BORDER, SIGMA),
            "scipy EDT per cell, cropped": lambda: cropped(labels[0].cpu().numpy()),
        },
        group="weight_map",
        agreement=close(1e-5),
        gbyte=labels.numel() * (4 + 1 + 4) / 1e9,
    )
