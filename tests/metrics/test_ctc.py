"""SEG, IoU, Dice, F1 and AP of label images."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from unet_fast.metrics import ctc


def random_labels(rng, shape=(40, 50)):
    """A truth of blobs, and labels that resemble it: moved, cut, renumbered."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    truth, _ = ndimage.label(field > 0.02)
    found, count = ndimage.label(field + ndimage.gaussian_filter(rng.normal(size=shape), 2) * rng.uniform(0, 1) > 0.02)
    numbers = np.concatenate([[0], rng.permutation(np.arange(1, 3 * count + 1))[:count]])
    return truth.astype(np.uint16), numbers[found].astype(np.uint16)


def test_golden_values():
    # A reference of 36 pixels covered by 30 counts 30/36, one covered by exactly half does not count.
    truth = np.zeros((20, 20), dtype=np.uint16)
    truth[1:7, 1:7], truth[10:16, 1:7] = 1, 2
    labels = np.zeros_like(truth)
    labels[2:7, 1:7], labels[13:16, 1:7] = 7, 9
    assert ctc.reference_jaccards(truth, labels).tolist() == [pytest.approx(30 / 36), 0]
    assert ctc.seg(truth, labels) == pytest.approx(0.416667, abs=5e-7)
    assert type(ctc.seg(truth, labels)) is float
    assert ctc.iou(truth, labels) == pytest.approx(48 / 72)
    assert ctc.dice(truth, labels) == pytest.approx(96 / 120)


def test_one_label_may_match_two_references():
    truth = np.repeat([[1, 2]], 6, axis=0)
    assert ctc.seg(truth, np.ones_like(truth)) == 0.5
    assert ctc.match_at_iou(truth, np.ones_like(truth)).hits == (1,)  # IoU 0.5 twice, but one partner each


def test_seg_counts_references_and_not_frames():
    many, one = np.arange(1, 10).reshape(3, 3), np.eye(3, dtype=int)
    truth, labels = np.stack([many, one]), np.stack([many, 1 - one])
    assert ctc.seg(truth, labels) == 0.9
    assert ctc.seg(list(truth), list(labels)) == 0.9
    assert ctc.seg([many, np.zeros((5, 5), dtype=int)], [many, np.ones((5, 5), dtype=int)]) == 1


def oracle_matches(truth, labels, threshold):
    """The best assignment, as StarDist computes it."""
    ids, others = np.unique(truth[truth > 0]), np.unique(labels[labels > 0])
    ious = np.array(
        [[((truth == i) & (labels == j)).sum() / ((truth == i) | (labels == j)).sum() for j in others] for i in ids]
    )
    costs = -(ious >= threshold).astype(float) - ious / (2 * min(ious.shape))
    hits = int((ious[linear_sum_assignment(costs)] >= threshold).sum())
    return hits, len(others) - hits, len(ids) - hits


@pytest.mark.parametrize("seed", range(10))
def test_matches_are_those_of_the_best_assignment(seed):
    truth, labels = random_labels(np.random.default_rng(seed), (30, 30))
    thresholds = (0.1, 0.25, 0.5, 0.75)
    found = ctc.match_at_iou(truth, labels, thresholds)
    expected = [oracle_matches(truth, labels, threshold) for threshold in thresholds]
    assert list(zip(found.hits, found.false, found.missed, strict=True)) == expected
    hits, false, missed = expected[2]
    assert ctc.f1_at_iou(truth, labels, (0.5,)) == pytest.approx((2 * hits / (2 * hits + false + missed),))
    assert ctc.average_precision(truth, labels, (0.5,)) == pytest.approx((hits / (hits + false + missed),))
    assert found.precision[2] == pytest.approx(hits / (hits + false))
    assert found.recall[2] == pytest.approx(hits / (hits + missed))


def test_matches_of_frames_are_summed():
    rng = np.random.default_rng(0)
    frames = [random_labels(rng) for _ in range(3)]
    total = ctc.match_at_iou(*zip(*frames, strict=True), ctc.AP_THRESHOLDS)
    single = [ctc.match_at_iou(*frame, ctc.AP_THRESHOLDS) for frame in frames]
    assert total == single[0] + single[1] + single[2]


def test_identical_and_empty():
    truth, _ = random_labels(np.random.default_rng(1))
    empty = np.zeros_like(truth)
    assert ctc.seg(truth, truth) == ctc.iou(truth, truth) == ctc.dice(truth, truth) == 1
    assert ctc.average_precision(truth, truth) == (1,) * 10
    assert ctc.seg(truth, empty) == ctc.iou(truth, empty) == ctc.dice(truth, empty) == 0
    assert ctc.f1_at_iou(truth, empty) == ctc.f1_at_iou(empty, truth) == (0,)
    assert ctc.iou(empty, empty) == ctc.dice(empty, empty) == 1
    assert ctc.f1_at_iou(empty, empty) == ctc.average_precision(empty, empty, (0.5,)) == (1,)
    with pytest.raises(ValueError, match="seg: truth: wanted at least one cell, got none"):
        ctc.seg(empty, truth)


def test_numbers_do_not_matter():
    truth, labels = random_labels(np.random.default_rng(2))
    large = np.where(labels > 0, labels.astype(np.int64) + 2**40, 0)
    assert ctc.seg(truth, large) == ctc.seg(truth, labels)
    assert ctc.match_at_iou(large, truth) == ctc.match_at_iou(labels, truth)


def ctc_metrics_seg(folder, frames):
    """SEG of frames as py-ctcmetrics computes it; its matching reads files."""
    tifffile = pytest.importorskip("tifffile")
    representations = pytest.importorskip("ctc_metrics.utils.representations")
    seg = pytest.importorskip("ctc_metrics.metrics.technical.seg")
    references, ious = [], []
    for index, (truth, labels) in enumerate(frames):
        for name, image in (("truth", truth), ("labels", labels)):
            tifffile.imwrite(folder / f"{name}{index}.tif", image)
        matched = representations.match(str(folder / f"truth{index}.tif"), str(folder / f"labels{index}.tif"))
        references.append(matched[0])
        ious.append(matched[4])
    return seg.seg(references, ious)


def test_seg_equals_py_ctcmetrics(tmp_path):
    rng = np.random.default_rng(3)
    frames = [random_labels(rng) for _ in range(40)]
    for frame in frames[:20]:
        assert ctc.seg(*frame) == pytest.approx(ctc_metrics_seg(tmp_path, [frame]), abs=1e-12)
    assert ctc.seg(*zip(*frames, strict=True)) == pytest.approx(ctc_metrics_seg(tmp_path, frames), abs=1e-12)


def test_seg_equals_py_ctcmetrics_on_cells(tmp_path, shared_data):
    tifffile = pytest.importorskip("tifffile")
    frames = []
    for folder in ("usiigaci", "dsb2018_fluo"):
        for path in sorted((shared_data / folder / "01_GT" / "SEG").glob("*.tif"))[:4]:
            truth = tifffile.imread(path)
            joined, _ = ndimage.label(ndimage.binary_erosion(truth > 0, iterations=2))
            frames.append((truth, joined.astype(np.uint16)))
    found = ctc.seg(*zip(*frames, strict=True))
    assert 0.3 < found < 0.95
    assert found == pytest.approx(ctc_metrics_seg(tmp_path, frames), abs=1e-12)


@pytest.mark.parametrize("function", [ctc.seg, ctc.iou, ctc.dice, ctc.match_at_iou])
def test_errors(function):
    image, name = np.ones((4, 5), dtype=int), function.__name__
    with pytest.raises(ValueError, match=rf"{name}: labels: wanted the shape .* \[4, 5\], got \[5, 5\] in frame 0"):
        function(image, np.ones((5, 5), dtype=int))
    with pytest.raises(ValueError, match=f"{name}: labels: wanted 2 frames as in truth, got 1"):
        function([image, image], [image])
    with pytest.raises(ValueError, match=f"{name}: labels: wanted whole numbers from 0, got float64"):
        function(image, image * 0.5)
    with pytest.raises(ValueError, match=f"{name}: truth: wanted whole numbers from 0, got int64"):
        function(-image, image)


def test_iou_thresholds_have_a_range():
    image = np.ones((4, 5), dtype=int)
    with pytest.raises(ValueError, match=r"match_at_iou: thresholds: wanted above 0 and up to 1, got \(0,\)"):
        ctc.match_at_iou(image, image, (0,))


def test_matches_of_different_thresholds_do_not_add():
    image = np.ones((4, 5), dtype=int)
    with pytest.raises(ValueError, match="Matches: wanted the same thresholds"):
        ctc.match_at_iou(image, image, (0.5,)) + ctc.match_at_iou(image, image, (0.6,))
