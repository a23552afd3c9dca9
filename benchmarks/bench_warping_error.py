"""warping_error on one thread: against plain Python at 128 x 128, and alone at the paper's 512 x 512.

`membranes` is a plausible probability. `texture` is none: grey values of a raw micrograph, of which a high threshold
leaves thousands of crumbs, the hardest that an image can be.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.agreement import EQUAL
from benchmarks.conftest import OURS
from unet_fast import ops, reference


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def interiors(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Interiors of cells between membranes a few pixels wide."""
    seeds = np.zeros((side, side), dtype=bool)
    seeds[tuple(rng.integers(0, side, (2, side * side // 1500)))] = True
    _, (y, x) = ndimage.distance_transform_edt(~seeds, return_indices=True)
    ids = y * side + x
    return ndimage.minimum_filter(ids, 4) == ndimage.maximum_filter(ids, 4)


def membranes(truth: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Blurred and noisy."""
    noise = ndimage.gaussian_filter(rng.normal(size=truth.shape), 2)
    return np.clip(ndimage.gaussian_filter(truth.astype(float), 1.5) + 1.5 * noise, 0, 1)


def texture(truth: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """256 grey values, of mean 0.6 in the cells and 0.35 in membranes, with grain about two pixels wide."""
    grain = ndimage.gaussian_filter(rng.normal(size=truth.shape), 0.7)
    grey = 0.35 + 0.25 * ndimage.gaussian_filter(truth.astype(float), 1) + 0.13 * grain / grain.std()
    return np.round(255 * np.clip(grey, 0, 1)) / 255


@pytest.mark.parametrize("side", [128, 512])
@pytest.mark.parametrize(("image", "threshold"), [(membranes, 0.5), (texture, 0.7)])
def test_warping_error(compare, image, threshold, side):
    rng = np.random.default_rng(0)
    objects = interiors(side, rng)
    truth, probability = torch.from_numpy(objects)[None], torch.from_numpy(image(objects, rng))[None].float()
    thresholds = torch.tensor([threshold])
    rivals = {OURS: lambda: ops.warping_error(truth, probability, thresholds)}
    if side == 128:
        rivals["Python"] = lambda: reference.warping_error(truth, probability, thresholds)
    assert ops.warping_error(truth, probability, thresholds).counts.sum() > 0
    read_and_written = truth.numel() * (1 + 4 + 1 + 1) / 1e9  # truth, probability, the maps
    compare(rivals, group="warping_error", agreement=EQUAL, gbyte=read_and_written)
