"""The measures of the ISBI 2012 challenge: golden values, and what they have in common."""

import numpy as np
import pytest

from tests.membranes import random_pair, two_cells
from unet_fast.metrics import em

HALF = (0.5,)

# Proposal: mismatch, 1 - F, warping (all), warping (splits and merges), Rand N2, N choose 2, classic.
GOLDEN = {
    "merge": (0.015625, 0.008264, 0.015625, 0.015625, 0.331361, 0.333209, 0.470098),
    "shift 1": (0.125, 0.066667, 0.0, 0.0, 0.060722, 0.061261, 0.109804),
    "shift 2": (0.125, 0.066667, 0.066406, 0.066406, 0.177746, 0.179281, 0.219608),
    "split": (0.031250, 0.016949, 0.003906, 0.003906, 0.187716, 0.189584, 0.143137),
    "hole": (0.003906, 0.002088, 0.003906, 0.0, 0.004410, 0.004447, 0.004381),
    "thick": (0.125, 0.071429, 0.0, 0.0, 0.140694, 0.142038, 0.125490),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_golden_values(kind):
    truth, proposal = two_cells(), two_cells(kind)
    found = (
        em.pixel_error(truth, proposal, HALF, "mismatch"),
        em.pixel_error(truth, proposal, HALF),
        em.warping_error(truth, proposal, HALF, "classic"),
        em.warping_error(truth, proposal, HALF),
        em.rand_error(truth, proposal, HALF),
        em.rand_error(truth, proposal, HALF, "n_choose_2"),
        em.rand_error(truth, proposal, HALF, "classic"),
    )
    assert found == pytest.approx(GOLDEN[kind], abs=5e-7)
    assert all(type(value) is float for value in found)


@pytest.mark.parametrize("variant", ["n2", "n_choose_2", "classic"])
def test_identical_images_have_no_error(variant):
    for seed in range(5):
        truth, _ = random_pair(seed)
        assert em.rand_error(truth, truth, variant=variant) == 0
        assert em.pixel_error(truth, truth) == em.pixel_error(truth, truth, variant="mismatch") == 0
        assert em.warping_error(truth, truth) == em.warping_error(truth, truth, variant="classic") == 0
        assert em.vrand_thinned(truth, truth) == 1


def test_stacks_are_summed_before_the_division():
    truth, merged = np.stack([two_cells()] * 3), np.stack([two_cells("merge"), two_cells(), two_cells("thick")])
    single = [em.rand_scores(t, m, HALF) for t, m in zip(truth, merged, strict=True)]
    both, first, second = (sum(getattr(s, name)[0] for s in single) for name in ("both", "truth", "proposal"))
    assert em.rand_error(truth, merged, HALF) == pytest.approx(1 - 2 * both / (first + second))
    assert em.rand_error(truth, merged, HALF) != pytest.approx(np.mean([s.error for s in single]), abs=1e-6)
    assert em.rand_scores(truth, merged, HALF) == single[0] + single[1] + single[2]
    pixels = [em.pixel_scores(t, m, HALF) for t, m in zip(truth, merged, strict=True)]
    assert em.pixel_scores(truth, merged, HALF) == pixels[0] + pixels[1] + pixels[2]
    warped = [em.warping_scores(t, m, HALF) for t, m in zip(truth, merged, strict=True)]
    assert em.warping_scores(truth, merged, HALF) == warped[0] + warped[1] + warped[2]
    assert em.warping_error(truth, merged, HALF) == pytest.approx(4 / truth.size)
    mean = np.mean([em.vrand_thinned(t, m, HALF) for t, m in zip(truth, merged, strict=True)])
    assert em.vrand_thinned(truth, merged, HALF) == pytest.approx(mean)


def test_slices_of_different_sizes():
    truths, chances = zip(*(random_pair(seed, (12 + seed, 20)) for seed in range(3)), strict=True)
    for error in (em.rand_error, em.pixel_error, em.warping_error, em.vrand_thinned):
        assert 0 < error(truths, chances) < 1
    total = em.warping_scores(truths, chances)
    assert total.pixels == sum(t.size for t in truths)
    assert np.array_equal(
        total.counts, sum(np.array(em.warping_scores(t, c).counts) for t, c in zip(truths, chances, strict=True))
    )


def test_the_best_threshold_counts():
    truth = two_cells()
    chance = np.where(truth, 0.65, 0.45)
    assert em.rand_error(truth, chance) == em.pixel_error(truth, chance) == em.warping_error(truth, chance) == 0
    scores = em.rand_scores(truth, chance)
    assert scores.threshold == em.pixel_scores(truth, chance).threshold == 0.5
    assert em.warping_scores(truth, chance).threshold == 0.5
    assert [s == 1 for s in scores.score] == [t in (0.5, 0.6) for t in em.THRESHOLDS]


def test_empty_proposals():
    truth, nothing = two_cells(), np.zeros((16, 16))
    # Every interior pixel alone: F = 2 m / (SA + m).
    cells, alone = 128**2 + 112**2, 240
    assert em.rand_error(truth, nothing) == pytest.approx(1 - 2 * alone / (cells + alone))
    assert em.rand_error(truth, nothing, variant="n_choose_2") == 1
    assert em.pixel_error(truth, nothing) == 1
    assert em.warping_scores(truth, nothing, HALF).classic[0] > 0
    assert em.vrand_thinned(truth, nothing) == pytest.approx(2 * alone / (cells + alone))
    assert em.rand_scores(truth, truth, [1.0]).score == em.rand_scores(truth, nothing, [1.0]).score


def test_truth_without_interior():
    nothing, all_ = np.zeros((9, 9)), np.ones((9, 9))
    assert (
        em.rand_error(nothing, nothing) == em.pixel_error(nothing, nothing) == em.warping_error(nothing, nothing) == 0
    )
    assert em.rand_error(nothing, all_, HALF) == 0  # nothing is left to compare
    assert em.pixel_error(nothing, all_, HALF) == 1
    assert em.rand_error(nothing, nothing, variant="classic") == 0


def test_eight_and_sixteen_bits_are_scaled():
    truth, chance = random_pair(0)
    eight = np.round(chance * 255).astype(np.uint8)
    for other in (eight, eight.astype(np.uint16) * 257):
        for error in (em.rand_error, em.pixel_error, em.warping_error):
            assert error(truth, other) == error(truth, eight / 255)
    for mask in (chance > 0.5, (chance > 0.5).astype(np.uint8), (chance > 0.5).astype(np.int64)):
        assert em.rand_error(truth, mask) == em.rand_error(truth, (chance > 0.5) * 1.0)
    # 51 / 255 is 0.2 and not above it.
    assert em.pixel_scores(np.ones((1, 2)), np.array([[51, 255]], dtype=np.uint8), [0.2]).hits == (1,)


@pytest.mark.parametrize(
    ("truth", "probability", "message"),
    [
        (
            np.zeros((4, 5)),
            np.zeros((4, 6)),
            r"probability: wanted the shape of truth \[4, 5\], got \[4, 6\] in slice 0",
        ),
        (np.zeros((2, 4, 5)), np.zeros((3, 4, 5)), "probability: wanted 2 slices as in truth, got 3"),
        (np.zeros((2, 2, 4, 5)), np.zeros((2, 2, 4, 5)), r"wanted slices \[H, W\], got \[2, 4, 5\]"),
        (np.zeros((4, 5)), np.full((4, 5), 1.5), r"wanted 0..1 \(uint8: 0..255\), got float64 in 1.5..1.5"),
        (np.zeros((4, 5)), np.full((4, 5), -0.1), r"wanted 0..1 .* in -0.1..-0.1"),
        (np.zeros((4, 5)), np.full((4, 5), np.nan), r"wanted 0..1 .* in nan..nan"),
        (np.zeros((4, 5)), np.full((4, 5), 7), r"wanted 0..1 .* got int64 in 7..7"),
    ],
)
def test_errors(truth, probability, message):
    for function in (em.rand_error, em.pixel_error, em.warping_error):
        with pytest.raises(ValueError, match=f"{function.__name__}: .*{message}"):
            function(truth, probability)


def test_unknown_variants_and_nothing_to_compare():
    image = np.zeros((4, 4))
    with pytest.raises(ValueError, match=r"rand_error: wanted .* one of n2, n_choose_2, classic, got .* nc2"):
        em.rand_error(image, image, variant="nc2")
    with pytest.raises(ValueError, match="pixel_error: variant: wanted f_score or mismatch, got f"):
        em.pixel_error(image, image, variant="f")
    with pytest.raises(ValueError, match="warping_error: variant: wanted splits_and_merges or classic, got all"):
        em.warping_error(image, image, variant="all")
    for function in (em.rand_error, em.pixel_error, em.warping_error, em.vrand_thinned):
        with pytest.raises(ValueError, match=rf"{function.__name__}: wanted .*slice.*threshold.*, got 0 "):
            function([], [])
        with pytest.raises(ValueError, match=r"got 1 (slices, 0 thresholds|and 0)"):
            function(image, image, ())


def test_scores_of_different_thresholds_do_not_add():
    image = np.zeros((4, 4))
    for scores in (em.rand_scores, em.pixel_scores, em.warping_scores):
        with pytest.raises(ValueError, match="Scores: wanted the same"):
            scores(image, image, [0.1]) + scores(image, image, [0.2])


def test_real_membranes(shared_data):
    tifffile = pytest.importorskip("tifffile")
    truth = tifffile.imread(shared_data / "isbi2012" / "train-labels.tif")[:2]
    assert em.rand_error(truth, truth) == em.pixel_error(truth, truth) == em.warping_error(truth, truth) == 0
    shifted = np.roll(truth, 1, axis=2)
    assert em.pixel_error(truth, shifted) > 10 * em.warping_error(truth, shifted)
