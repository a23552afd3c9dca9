"""The warping error: golden types, and properties of the warping."""

import numpy as np
import pytest
from scipy import ndimage

from tests.membranes import components, random_pair, two_cells
from unet_fast.metrics import em

HALF = (0.5,)


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("merge", {"merge": 4}),
        ("shift 2", {"merge": 16, "split": 1}),
        ("split", {"split": 1}),
        ("hole", {"hole_addition": 1}),
    ],
)
def test_golden_types(kind, counts):
    (found,) = em.warping_scores(two_cells(), two_cells(kind), HALF).counts
    assert {name: count for name, count in zip(em.ERROR_TYPES, found, strict=True) if count} == counts
    types = em.warping_maps(two_cells(), two_cells(kind), 0.5).types
    assert {name: (types == i).sum() for i, name in enumerate(em.ERROR_TYPES, 1) if (types == i).any()} == counts


@pytest.mark.parametrize("seed", range(60))
def test_warping_keeps_the_topology_and_lowers_the_error(seed):
    truth, chance = random_pair(seed)
    for threshold in (0.3, 0.5):
        maps = em.warping_maps(truth, chance, threshold)
        assert components(maps.warped[0]) == components(truth)
        proposal = chance.astype(np.float32) > np.float32(threshold)
        np.testing.assert_array_equal(maps.types[0] > 0, maps.warped[0] != proposal)
        scores = em.warping_scores(truth, chance, [threshold])
        assert scores.classic[0] == (maps.types > 0).mean()
        assert scores.error <= scores.classic[0] <= em.pixel_error(truth, chance, [threshold], "mismatch")
        again = em.warping_maps(maps.warped, chance[None], threshold)
        np.testing.assert_array_equal(again.warped, maps.warped)


@pytest.mark.parametrize("seed", range(10))
def test_warping_forgives_cells_grown_by_a_pixel_without_merging(seed):
    truth, _ = random_pair(seed)
    grown = truth.copy()
    for y, x in np.argwhere(~truth):  # one flip after another, each of them simple
        after = grown.copy()
        after[y, x] = True
        if components(after) == components(grown):
            grown = after
    assert (grown != truth).any()
    assert em.warping_error(truth, grown, HALF, "classic") <= em.pixel_error(truth, grown, HALF, "mismatch") / 2


def test_mask_radius_limits_how_far_cells_shrink():
    truth = two_cells()
    eroded = truth & ndimage.binary_erosion(truth, iterations=4, border_value=1)
    assert em.warping_error(truth, eroded, HALF, "classic") == 0
    free = em.warping_maps(truth, eroded, 0.5, mask_radius=4)
    np.testing.assert_array_equal(free.warped[0], eroded)
    near = em.warping_maps(truth, eroded, 0.5, mask_radius=2)
    distance = np.abs(np.arange(16) - 8)
    np.testing.assert_array_equal(near.warped[0], np.broadcast_to(distance > 2, (16, 16)))
    assert em.warping_error(truth, eroded, HALF, "classic", mask_radius=2) == 0  # what lies deeper is not counted
    assert em.warping_error(np.ones((9, 9)), np.zeros((9, 9)), HALF, "classic", mask_radius=5) == 0
