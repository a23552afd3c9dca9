"""Objects numbered band by band: the same as those of the whole image."""

import numpy as np
import pytest

from unet_fast.data import synthetic_cells
from unet_fast.instances import label_instances
from unet_fast.prediction.arrays import FileArray
from unet_fast.prediction.objects import SEED, Objects


def on_disk(folder, mask):
    array = FileArray.create(folder / "mask.raw", np.uint8, mask.shape)
    array[:] = mask
    return array


def numbered(folder, mask, band_rows, **options):
    pieces = FileArray.create(folder / "pieces.raw", np.int32, mask.shape)
    objects = Objects(on_disk(folder, mask), pieces, band_pixels=band_rows * mask.shape[1], **options)
    bands = list(objects.bands())
    assert max(len(band) for band in bands) <= band_rows
    labels = np.concatenate(bands)
    assert objects.count == labels.max()
    return labels


def spiral(side):
    """One object that goes through every band many times."""
    mask = np.zeros((side, side), bool)
    y, x, dy, dx = 0, 0, 0, 1
    low_y, low_x, high_y, high_x = 0, 0, side - 1, side - 1
    while low_y <= high_y and low_x <= high_x:
        mask[y, x] = True
        if dx == 1 and x == high_x:
            dy, dx, low_y = 1, 0, low_y + 2
        elif dy == 1 and y == high_y:
            dy, dx, high_x = 0, -1, high_x - 2
        elif dx == -1 and x == low_x:
            dy, dx, high_y = -1, 0, high_y - 2
        elif dy == -1 and y == low_y:
            dy, dx, low_x = 0, 1, low_x + 2
        y, x = y + dy, x + dx
    return mask


MASKS = {
    "sparse": np.random.default_rng(0).random((41, 37)) < 0.3,
    "half": np.random.default_rng(1).random((41, 37)) < 0.5,
    "dense": np.random.default_rng(2).random((41, 37)) < 0.75,
    "cells": synthetic_cells(1, 128, seed=3).instances[0] > 0,
    "spiral": spiral(33),
    "rings": (np.hypot(*(np.indices((40, 40)) - 19.5)).astype(int) // 3) % 2 == 0,
    "empty": np.zeros((9, 7), bool),
    "full": np.ones((9, 7), bool),
    "row": np.random.default_rng(4).random((1, 50)) < 0.5,
    "column": np.random.default_rng(5).random((50, 1)) < 0.5,
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("band_rows", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "options",
    [
        {"gap": 0},
        {},
        {"gap": 3, "min_size": 4},
        {"gap": 0, "fill_holes": True},
        {"gap": 1, "min_size": 20, "fill_holes": True},
    ],
)
def test_equals_the_whole(tmp_path, name, band_rows, options):
    expected = label_instances(MASKS[name], **options)
    np.testing.assert_array_equal(numbered(tmp_path, MASKS[name], band_rows, **options), expected)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("band_rows", [1, 2, 7, 1000])
@pytest.mark.parametrize("options", [{"gap": 0}, {}, {"gap": 2, "min_size": 3, "fill_holes": True}])
def test_seeds_grow_as_in_the_whole(tmp_path, name, band_rows, options):
    mask = MASKS[name]
    seeds = mask & (np.random.default_rng(6).random(mask.shape) < 0.1)
    expected = label_instances(mask, **options, seeds=seeds)
    found = numbered(tmp_path, np.where(seeds, SEED, mask), band_rows, **options, seeded=True)
    np.testing.assert_array_equal(found, expected)


def test_the_spiral_is_one_object():
    assert label_instances(MASKS["spiral"], gap=0).max() == 1
