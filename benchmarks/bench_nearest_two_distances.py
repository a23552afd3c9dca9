"""nearest_two_distances against scipy's Euclidean distance transform, one per cell."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from benchmarks.agreement import EQUAL, Agreement
from benchmarks.conftest import OURS
from benchmarks.instances import cells
from unet_fast import ops

SAME_D1 = Agreement("different values of d1", 0, lambda ours, other: float((ours[0][0] != other.float()).sum()))


def two_least(labels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    ids = labels[0].cpu().numpy()
    least = np.full((2, *ids.shape), np.inf)
    for cell in np.unique(ids[ids > 0]):
        distance = ndimage.distance_transform_edt(ids != cell)
        least[1] = np.minimum(least[1], np.maximum(least[0], distance))
        least[0] = np.minimum(least[0], distance)
    return tuple(torch.from_numpy(least.astype(np.float32))[:, None].to(labels.device))


def compare_with_scipy(compare, labels: torch.Tensor) -> None:
    compare(
        {
            OURS: lambda: ops.nearest_two_distances(labels),
            "scipy EDT per cell, two running minima": lambda: two_least(labels),
        },
        group="nearest_two_distances",
        agreement=EQUAL,
        gbyte=labels.numel() * (4 + 8) / 1e9,
    )


def test_nearest_two_distances(compare, device):
    compare_with_scipy(compare, cells(60, 512).to(device))


@pytest.mark.parametrize("count", [1, 3])
def test_few_cells_in_a_large_image(compare, device, count):
    labels = torch.zeros(1, 2048, 2048, dtype=torch.int32)
    for cell in range(count):
        y, x = 100 + 1700 * (cell % 2), 100 + 1700 * cell // max(count - 1, 1)
        labels[:, y : y + 10, x : x + 10] = cell + 1
    compare_with_scipy(compare, labels)


@pytest.mark.parametrize("layout", ["diagonal", "column", "corner"])
def test_adversarial_layouts(compare, layout):
    """Many instances, and far to go from most pixels: a search that walks there takes a time of its own."""
    labels, ids = torch.zeros(1, 2048, 2048, dtype=torch.int32), torch.arange(1, 2049, dtype=torch.int32)
    if layout == "diagonal":
        labels[0].diagonal().copy_(ids)
    elif layout == "column":
        labels[0, :, 0] = ids
    else:
        labels[:, :256, :256] = cells(1000, 256)
    compare(
        {
            OURS: lambda: ops.nearest_two_distances(labels),
            "scipy EDT, d1 only": lambda: torch.from_numpy(ndimage.distance_transform_edt(labels[0].numpy() == 0)),
        },
        group="nearest_two_distances",
        agreement=SAME_D1,
        gbyte=labels.numel() * (4 + 8) / 1e9,
        references=("scipy EDT, d1 only",),
    )
