"""What label values mean, and the instance and class maps that they become."""

import numpy as np
import pytest

from unet_fast.data import IGNORED, IGNORED_CLASS
from unet_fast.data.label_kinds import Meaning, instances_and_classes, tell_meaning


def image(rows):
    return np.array(rows, dtype=np.int32)


def scattered(codes, seed=0, side=40):
    """Draw a label image in which every code occurs in many pieces."""
    return np.random.default_rng(seed).choice(np.array(codes, dtype=np.int32), (side, side))


def cells(count, side=60):
    """Draw a row of square cells with ids 1 to `count`, one piece each."""
    labels = np.zeros((side, side), np.int32)
    for index in range(count):
        y, x = divmod(index, side // 6)
        labels[6 * y : 6 * y + 5, 6 * x : 6 * x + 5] = index + 1
    return labels


@pytest.mark.parametrize("code", [1, 2, 255, 65535])
def test_two_values_are_a_mask(code):
    labels = [image([[0, code], [0, 0]]), image([[0, 0], [0, 0]])]
    assert tell_meaning(labels) == Meaning("mask", (0, code))


def test_one_value_is_a_mask():
    assert tell_meaning([np.zeros((3, 3), np.int32)]) == Meaning("mask", (0, 0))
    assert tell_meaning([np.full((3, 3), 255, np.int32)]) == Meaning("mask", (0, 255))


def test_values_that_recur_in_pieces_are_classes():
    assert tell_meaning([scattered([0, 1, 2])]) == Meaning("classes", (0, 1, 2))
    assert tell_meaning([scattered([0, 32, 64, 255]), scattered([0, 128])]) == Meaning("classes", (0, 32, 64, 128, 255))
    assert tell_meaning([scattered([1, 2])]) == Meaning("classes", (1, 2))


def test_values_of_one_piece_each_are_instances():
    assert tell_meaning([cells(3), cells(2)]) == Meaning("instances")
    assert tell_meaning([cells(80)]) == Meaning("instances")


def test_many_values_are_instances_though_in_pieces():
    assert tell_meaning([scattered(range(0, 400, 10))]) == Meaning("instances")


def test_a_mask_that_went_through_jpeg():
    random = np.random.default_rng(0)
    mask = np.where(np.arange(10000).reshape(100, 100) % 100 > 60, 255, 0)
    blurred = np.clip(mask + random.integers(-7, 8, mask.shape), 0, 255).astype(np.int32)
    meaning = tell_meaning([blurred])
    assert meaning == Meaning("mask", (0, 255), blurred=True)
    np.testing.assert_array_equal(instances_and_classes(blurred, meaning)[0], mask > 0)


def test_the_ignored_code_tells_nothing():
    labels = image([[0, 1, 255], [0, 1, 255]])
    assert tell_meaning([labels], ignore=255) == Meaning("mask", (0, 1), 255)
    instances, classes = instances_and_classes(labels, tell_meaning([labels], ignore=255))
    assert instances.tolist() == [[0, 1, IGNORED], [0, 1, IGNORED]]
    assert classes is None


def test_a_kind_can_be_forced():
    labels = [scattered([0, 1, 2])]
    assert tell_meaning(labels, "instances") == Meaning("instances")
    assert tell_meaning(labels, "mask") == Meaning("mask", (0, 2))
    assert tell_meaning([cells(3)], "classes") == Meaning("classes", (0, 1, 2, 3))
    assert tell_meaning([image([[0, 1]])], "classes", classes=3) == Meaning("classes", (0, 1, 2))


def test_the_objects_of_a_mask_are_its_4_connected_pieces():
    instances, classes = instances_and_classes(
        image([[255, 0, 0], [0, 255, 255], [0, 0, 255]]), Meaning("mask", (0, 255))
    )
    assert instances.tolist() == [[1, 0, 0], [0, 2, 2], [0, 0, 2]]
    assert instances.dtype == np.int32
    assert classes is None


def test_instances_stay_as_they_are():
    labels = image([[7, 7, 0], [3, 0, 7]])
    instances, _ = instances_and_classes(labels, Meaning("instances"))
    np.testing.assert_array_equal(instances, labels)


def test_classes_are_numbered_from_zero():
    meaning = Meaning("classes", (0, 32, 255), ignore=9)
    instances, classes = instances_and_classes(image([[0, 32, 255], [255, 0, 0], [0, 9, 32]]), meaning)
    assert classes.tolist() == [[0, 1, 2], [2, 0, 0], [0, IGNORED_CLASS, 1]]
    assert classes.dtype == np.uint8
    assert instances.tolist() == [[0, 1, 1], [2, 0, 0], [0, IGNORED, 3]]


def test_freiburg():
    instances, _ = instances_and_classes(image([[0, 1, 2], [1, 5, 5]]), tell_meaning([image([[0, 1, 5]])], "freiburg"))
    assert instances.tolist() == [[IGNORED, 0, 1], [0, 4, 4]]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (image([[0, -1, 5]]), {}, r"label image 0: wanted labels from 0, got -1"),
        (
            image([[0, 3]]),
            {"kind": "classes", "classes": 2},
            r"label image 0: wanted the classes 0\.\.1, got the value 3",
        ),
        (np.arange(300, dtype=np.int32)[None], {"kind": "classes"}, "labels: wanted at most 255 classes, got 300"),
    ],
)
def test_errors(labels, options, message):
    with pytest.raises(ValueError, match=message):
        tell_meaning([labels], **options)
