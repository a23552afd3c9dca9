"""Labelled images in memory: checks, splits, and the report."""

import numpy as np
import pytest

from unet_fast.data import IGNORED, IGNORED_CLASS, LabelledImages, Origin
from unet_fast.data.report import suspicions, touching


def make(count=10, side=8, **changes):
    images = [np.full((1, side, side + index), index, np.uint8) for index in range(count)]
    for image in images:
        image[0, 0, 0] = 99
    instances = [np.zeros(image.shape[1:], np.int32) for image in images]
    for labels in instances:
        labels[1:3, 1:3] = 5
    names = [f"image{index}" for index in range(count)]
    return LabelledImages(**({"images": images, "instances": instances, "names": names} | changes))


def test_targets_and_counts():
    data = make(2)
    data.instances[0][0] = IGNORED
    assert np.unique(data.target(0)).tolist() == [0, 1, IGNORED_CLASS]
    assert data.target(0).dtype == np.uint8
    assert data.class_pixels().tolist() == [64 + 72 - 8 - 8, 8]
    assert data.ignore_label == IGNORED


@pytest.mark.parametrize(("fraction", "held"), [(0.2, 2), (0.01, 1), (0.99, 9), (0, 0)])
def test_split_by_fraction(fraction, held):
    training, validation = make().split(fraction)
    assert (len(training), len(validation)) == (10 - held, held)
    assert sorted([*training.names, *validation.names]) == sorted(make().names)


def test_split_depends_on_the_seed_alone():
    names = [tuple(make().split(0.3, seed=seed)[1].names) for seed in (0, 0, 1, 2)]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_split_keeps_labels_with_images():
    data = make()
    for part in data.split(0.3):
        for image, labels, name in zip(part.images, part.instances, part.names, strict=True):
            assert image.shape[1:] == labels.shape
            assert name == f"image{image[0, 1, 1]}"


def test_folds_hold_every_image_once():
    parts = [make().split(fold=fold, folds=3) for fold in range(3)]
    held = [name for _, validation in parts for name in validation.names]
    assert sorted(held) == sorted(make().names)
    assert all(not set(training.names) & set(validation.names) for training, validation in parts)
    assert [len(validation) for _, validation in parts] == [4, 3, 3]


def test_a_single_image_is_trained_on():
    training, validation = make(1).split(0.5)
    assert (len(training), len(validation)) == (1, 0)


def test_split_of_classes():
    data = make(4, classes=[np.full((8, 8 + index), index, np.uint8) for index in range(4)], class_names=tuple("abcd"))
    for part in data.split(0.25):
        assert [f"image{labels[0, 0]}" for labels in part.classes] == list(part.names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1}, "validation_fraction: wanted 0 to below 1, got 1"),
        ({"fold": 5}, "wanted 2 to 10 folds and a fold below their number, got fold 5 of 5"),
        ({"fold": 0, "folds": 11}, "got fold 0 of 11"),
    ],
)
def test_split_errors(options, message):
    with pytest.raises(ValueError, match="split: .*" + message):
        make().split(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["a"]}, r"wanted as many images as names and labels, got \[2, 1, 2\]"),
        ({"images": [np.zeros((8, 8), np.uint8)] * 2}, r"image0: wanted uint8, .* \[C, H, W\], got uint8 \[8, 8\]"),
        ({"images": [np.zeros((1, 8, 8))] * 2}, "image0: wanted uint8, uint16 or float32 .*, got float64"),
        ({"instances": [np.zeros((8, 8), np.int32)] * 2}, r"image1: wanted int32 labels \[8, 9\], got int32 \[8, 8\]"),
        ({"instances": [np.zeros((8, 8))] * 2}, "image0: wanted int32 labels .*, got float64"),
        ({"classes": [np.zeros((8, 8), np.int32)] * 2}, "image0: wanted uint8 labels .*, got int32"),
        (
            {"images": [np.zeros((1, 8, 8), np.uint8), np.zeros((2, 8, 9), np.uint8)]},
            "image1: wanted 1 channels of uint8 as in image0, got 2 of uint8",
        ),
    ],
)
def test_construction_errors(changes, message):
    with pytest.raises(ValueError, match="LabelledImages: " + message):
        make(2, **changes)


def test_touching():
    alone = [[0, 1, 1, 0, 2], [0, 1, 1, 0, 2]]
    side = [[0, 1, 1, 2, 2], [0, 0, 0, 0, 3]]
    diagonal = [[0, 1, 0, 0], [0, 0, 2, 0], [0, 3, 0, 0]]
    ignored = [[1, -1, 2], [1, -1, 2]]
    for labels, wanted in ((alone, (2, 0)), (side, (3, 3)), (diagonal, (3, 3)), (ignored, (2, 0))):
        assert touching(np.array(labels, np.int32)) == wanted
    assert touching(np.zeros((3, 3), np.int32)) == (0, 0)
    assert touching(np.array([[1, 2]], np.int32)) == (2, 2)


def test_report():
    data = make(5, origin=Origin("cells: image stacks", "uint8; a mask", ("one left out",), ("looks odd",)))
    assert data.report().splitlines() == [
        "cells: image stacks, 5 labelled images",
        "  images      5 of 5 sizes, heights 8..8, widths 8..12, 1 channel, uint8, values 0..99",
        "  labels      uint8; a mask",
        "  classes     background 95.0 %, foreground 5.0 %",
        "  objects     5 (1.0 an image), 0 % touch another",
        "  note        one left out",
        "  warning     looks odd",
    ]
    assert "  images      1 of 8x8, 1 channel" in make(1).report()


def test_report_of_ignored_pixels():
    data = make(1)
    data.instances[0][:4] = IGNORED
    assert "background 50.0 %, foreground 0.0 %, ignored 50.0 %" in data.report()


def test_report_without_images():
    assert make(0).report().splitlines() == ["images in memory, 0 labelled images", "  warning     there is no image"]


def test_nothing_suspicious():
    assert suspicions(make(3)) == []


def test_suspicions():
    data = make(3)
    for index in (0, 2):
        data.instances[index][:] = 0
    assert suspicions(data) == ["2 of 3 label images hold no foreground (such as image0)"]
    data.instances[1][:] = 0
    assert suspicions(data) == ["every label image is background from edge to edge: nothing can be learned"]
    for labels in data.instances:
        labels[:] = 1
    assert suspicions(data) == ["no pixel is background: nothing can be learned"]


def test_suspicious_classes_and_images():
    data = make(2, classes=[np.eye(8, 8 + index, dtype=np.uint8) for index in range(2)], class_names=("a", "b", "c"))
    data.images[1][:] = 7
    assert suspicions(data) == [
        "no pixel belongs to c",
        "1 image of one grey value from edge to edge (such as image1)",
    ]
