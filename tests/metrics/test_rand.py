"""The Rand error pair by pair and against scikit-learn, and the thinned form of the challenge."""

import numpy as np
import pytest
from scipy import ndimage

from tests.membranes import random_pair, two_cells
from unet_fast.metrics import em

HALF = (0.5,)


@pytest.mark.parametrize("kind", ["thick", "hole", ""])
def test_thinned_rand_forgives_thick_membranes(kind):
    assert em.vrand_thinned(two_cells(), two_cells(kind), HALF) == 1


def test_thinned_rand_sees_what_is_split_or_merged():
    assert em.vrand_thinned(two_cells(), two_cells("merge"), HALF) == pytest.approx(1 - 0.331361, abs=5e-7)
    assert em.vrand_thinned(two_cells(), two_cells("split"), HALF) == pytest.approx(1 - 0.187716, abs=5e-7)


def pairs_together(labels, singletons):
    """[N, N]: whether two pixels lie in one object; 0 is no object where singletons, else one."""
    labels = labels.ravel()
    together = labels[:, None] == labels
    if singletons:
        together &= labels[:, None] > 0
    np.fill_diagonal(together, False)
    return together


@pytest.mark.parametrize("seed", range(8))
def test_rand_error_by_counting_pairs(seed):
    truth, chance = random_pair(seed, (9, 11))
    threshold = float(np.quantile(chance, 0.5))
    cells, found = ndimage.label(truth)[0], ndimage.label(chance.astype(np.float32) > np.float32(threshold))[0]
    in_truth, in_found = pairs_together(cells, singletons=False), pairs_together(found, singletons=False)
    classic = (in_truth != in_found).sum() / (cells.size * (cells.size - 1))
    assert em.rand_error(truth, chance, [threshold], "classic") == pytest.approx(classic, abs=1e-12)

    inside = cells.ravel() > 0  # the rest is left out
    in_truth = pairs_together(cells, singletons=True)[inside][:, inside]
    in_found = pairs_together(found, singletons=True)[inside][:, inside]
    f = 2 * (in_truth & in_found).sum() / (in_truth.sum() + in_found.sum())
    assert em.rand_error(truth, chance, [threshold], "n_choose_2") == pytest.approx(1 - f, abs=1e-12)

    every = np.eye(inside.sum(), dtype=bool)  # n^2: with the pairs of a pixel and itself
    f = 2 * ((in_truth & in_found) | every).sum() / ((in_truth | every).sum() + (in_found | every).sum())
    assert em.rand_error(truth, chance, [threshold]) == pytest.approx(1 - f, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_classic_rand_error_equals_scikit_learn(seed):
    cluster = pytest.importorskip("sklearn.metrics.cluster")
    truth, chance = random_pair(seed)
    cells, found = ndimage.label(truth)[0].ravel(), ndimage.label(chance > 0.5)[0].ravel()
    assert em.rand_error(truth, chance, HALF, "classic") == pytest.approx(1 - cluster.rand_score(cells, found))


def test_thin():
    interior = np.zeros((7, 12), dtype=bool)
    interior[2:5, 1:3] = interior[2:5, 7:9] = True
    # A gap of four pixels has no middle: the later cell gives way.
    expected = np.tile([1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2], (7, 1))
    np.testing.assert_array_equal(em.thin(interior), expected)


@pytest.mark.parametrize("seed", range(10))
def test_thinned_cells_never_touch(seed):
    truth, chance = random_pair(seed, (40, 50))
    for interior in (truth, chance > 0.7):
        thinned = em.thin(interior)
        for here, there in ((thinned[1:], thinned[:-1]), (thinned[:, 1:], thinned[:, :-1])):
            assert not ((here != there) & (here > 0) & (there > 0)).any()
        cells, count = ndimage.label(interior)
        np.testing.assert_array_equal(thinned[interior], cells[interior])
        assert thinned.max() == count
        line = thinned == 0
        near = ndimage.maximum_filter(thinned, footprint=ndimage.generate_binary_structure(2, 1))
        assert (near[line] > 0).mean() > 0.95  # lines have a cell beside them, but for spots where many cells meet


def test_thin_without_cells_or_membranes():
    assert not em.thin(np.zeros((5, 6), dtype=bool)).any()
    assert (em.thin(np.ones((5, 6), dtype=bool)) == 1).all()
