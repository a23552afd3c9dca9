"""The synthetic default: crowded cells that a threshold does not find."""

import numpy as np
import pytest
from scipy import ndimage

from unet_fast.data import synthetic_cells
from unet_fast.data.report import suspicions, touching


@pytest.fixture(scope="module")
def cells():
    return synthetic_cells()


def otsu(image):
    """The threshold of a uint8 image that separates two classes of grey values best."""
    counts = np.bincount(image.ravel(), minlength=256).astype(float)
    below, total = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    between = (total[-1] * below / below[-1] - total) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return between.argmax()


def iou(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


def test_shapes(cells):
    assert len(cells) == 16
    for image, labels in zip(cells.images, cells.instances, strict=True):
        assert image.dtype == np.uint8
        assert image.shape == (1, *labels.shape)
        assert all(256 <= side <= 320 for side in labels.shape)
    assert suspicions(cells) == []


def test_every_cell_is_one_piece_and_numbered_without_gaps(cells):
    for labels in cells.instances:
        ids = np.unique(labels)
        assert ids.tolist() == list(range(len(ids)))
        assert len(ids) > 30
        for label in ids[1:]:
            assert ndimage.label(labels == label)[1] == 1
        assert np.bincount(labels.ravel()).min() >= 30


def test_many_cells_touch(cells):
    counts = np.array([touching(labels) for labels in cells.instances])
    assert (counts[:, 1] / counts[:, 0]).min() > 1 / 3
    merged = sum(ndimage.label(labels > 0)[1] for labels in cells.instances)
    assert merged < 0.7 * counts[:, 0].sum()


def test_some_gaps_are_one_pixel_wide(cells):
    gaps = 0
    for labels in cells.instances:
        between = (
            (labels[:, :-2] > 0) & (labels[:, 1:-1] == 0) & (labels[:, 2:] > 0) & (labels[:, :-2] != labels[:, 2:])
        )
        gaps += between.sum()
    assert gaps > 100


@pytest.mark.parametrize("smoothing", [0, 1, 2])
def test_no_threshold_finds_the_cells(cells, smoothing):
    """The baseline that a network has to beat: Otsu's threshold, dark or bright, whichever is better."""
    scores = []
    for image, labels in zip(cells.images, cells.instances, strict=True):
        smooth = ndimage.gaussian_filter(image[0], smoothing) if smoothing else image[0]
        bright = smooth > otsu(smooth)
        scores.append(max(iou(bright, labels > 0), iou(~bright, labels > 0)))
    assert np.mean(scores) < 0.6


def test_the_seed_decides(cells):
    again, other = synthetic_cells(2, seed=0), synthetic_cells(2, seed=1)
    for index in range(2):
        np.testing.assert_array_equal(again.images[index], cells.images[index])
        np.testing.assert_array_equal(again.instances[index], cells.instances[index])
    assert again.images[0].shape != other.images[0].shape or (again.images[0] != other.images[0]).any()


@pytest.mark.parametrize("size", [32, 65, (40, 50)])
def test_sizes(size):
    data = synthetic_cells(2, size)
    low, high = (size, size) if isinstance(size, int) else size
    assert all(low <= side <= high for image in data.images for side in image.shape[1:])
    assert all(labels.max() > 0 for labels in data.instances)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count: wanted at least 1, got 0"),
        ({"size": 31}, "size: wanted at least 32 pixels and a rising range, got 31"),
        ({"size": (60, 50)}, "size: wanted at least 32 pixels and a rising range"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match="synthetic_cells: " + message):
        synthetic_cells(**options)
