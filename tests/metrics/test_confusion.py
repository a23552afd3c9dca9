"""Confusion matrix and what follows from it."""

import numpy as np
import pytest

from unet_fast.metrics.confusion import Confusion


def test_by_eye():
    confusion = Confusion(3)
    confusion.add(np.array([[0, 0, 1], [1, 2, -1]]), np.array([[0, 1, 1], [1, 0, 2]]))
    assert confusion.counts.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert confusion.pixel_error() == pytest.approx(2 / 5)
    assert confusion.iou() == pytest.approx([1 / 3, 2 / 3, 0])
    assert confusion.foreground_iou() == pytest.approx(1 / 3)


def test_sums_over_images():
    truth, prediction = np.array([[0, 1, 1, 0]]), np.array([[0, 1, 0, 0]])
    whole, parts = Confusion(2), Confusion(2)
    whole.add(truth, prediction)
    parts.add(truth[:, :2], prediction[:, :2])
    parts.add(truth[:, 2:], prediction[:, 2:])
    assert np.array_equal(whole.counts, parts.counts)


def test_absent_classes():
    confusion = Confusion(3)
    confusion.add(np.zeros((2, 2), int), np.zeros((2, 2), int))
    assert np.isnan(confusion.iou()[1:]).all() and confusion.foreground_iou() == 1


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"prediction: wanted the shape of truth \(2, 2\), got \(2, 3\)"):
        Confusion(2).add(np.zeros((2, 2), int), np.zeros((2, 3), int))
