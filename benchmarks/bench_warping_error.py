"""warping_error on one thread: against plain Python at 128 x 128, and alone at the paper's 512 x 512."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.agreement import EQUAL
from benchmarks.conftest import OURS
from unet_fast import ops, reference


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def membranes(side: int) -> tuple[Tensor, Tensor]:
    """Cells with membranes a few pixels wide, and a blurred, noisy probability of interior."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((side, side), dtype=bool)
    seeds[tuple(rng.integers(0, side, (2, side * side // 1500)))] = True
    _, (y, x) = ndimage.distance_transform_edt(~seeds, return_indices=True)
    cells = y * side + x
    truth = ndimage.minimum_filter(cells, 4) == ndimage.maximum_filter(cells, 4)
    noise = ndimage.gaussian_filter(rng.normal(size=truth.shape), 2)
    probability = np.clip(ndimage.gaussian_filter(truth.astype(float), 1.5) + 1.5 * noise, 0, 1)
    return torch.from_numpy(truth)[None], torch.from_numpy(probability)[None].float()


@pytest.mark.parametrize("side", [128, 512])
def test_warping_error(compare, side):
    truth, probability = membranes(side)
    threshold = torch.tensor([0.5])
    rivals = {OURS: lambda: ops.warping_error(truth, probability, threshold)}
    if side == 128:
        rivals["Python"] = lambda: reference.warping_error(truth, probability, threshold)
    assert ops.warping_error(truth, probability, threshold).counts.sum() > 0
    read_and_written = truth.numel() * (1 + 4 + 1 + 1) / 1e9  # truth, probability, the maps
    compare(rivals, group="warping_error", agreement=EQUAL, gbyte=read_and_written)
