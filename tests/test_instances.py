"""Objects of a predicted mask: pieces, holes, small pieces, and the gap given back."""

import numpy as np
import pytest

from unet_fast.data import synthetic_cells
from unet_fast.instances import label_instances


def picture(text):
    return np.array([[int(letter) if letter.isdigit() else 0 for letter in line.strip()] for line in text.split()])


def label(text, **options):
    return "\n".join(
        "".join(str(value) if value else "." for value in row) for row in label_instances(picture(text), **options)
    )


def drawn(text):
    return "\n".join(text.split())


def test_pieces_are_4_connected():
    assert label("11.. ..11 1...", gap=0) == drawn("11.. ..22 3...")


def test_a_gap_of_one_pixel_is_given_back_and_a_free_border_is_not():
    before = """
        ...........
        .111.111...
        .111.111...
        .111.......
    """
    after = """
        ...........
        .1111222...
        .1111222...
        .1111......
    """
    assert label(before, gap=1) == drawn(after)


def test_a_wide_gap_needs_a_wide_limit():
    row = "11..11...11"
    assert label(row, gap=1) == "11..22...33"
    assert label(row, gap=2) == "111222...33"
    assert label(row, gap=3) == "11122222333"  # a tie in the middle


def test_the_nearer_object_takes_the_pixel():
    assert label("1.. ..1", gap=1) == drawn("11. .22")


def brute_force(instances, gap):
    """The rule of the documentation, pixel by pixel."""
    filled = instances.copy()
    objects = [(label, np.argwhere(instances == label)) for label in range(1, instances.max() + 1)]
    for y, x in np.argwhere(instances == 0):
        ranked = sorted((np.hypot(*(places - (y, x)).T).min(), label) for label, places in objects)
        if len(ranked) > 1 and ranked[0][0] + ranked[1][0] - 1 <= gap + 0.5:
            filled[y, x] = ranked[0][1]
    return filled


@pytest.mark.parametrize("gap", [1, 2, 3])
@pytest.mark.parametrize("density", [0.1, 0.4])
def test_equals_the_rule_pixel_by_pixel(gap, density):
    mask = np.random.default_rng(gap).random((23, 31)) < density
    np.testing.assert_array_equal(label_instances(mask, gap=gap), brute_force(label_instances(mask, gap=0), gap))


def test_small_pieces_are_dropped_and_ids_stay_without_gaps():
    assert label("1.11.111", gap=0, min_size=2) == "..11.222"
    assert label("1.11.111", gap=0, min_size=4) == "........"


def test_holes():
    before = """
        11111.111
        1...1.1.1
        1.1.1.1.1
        1...1.1.1
        11111.111
    """
    assert label(before, gap=0, fill_holes=False) == drawn("11111.222 1...1.2.2 1.3.1.2.2 1...1.2.2 11111.222")
    assert label(before, gap=0, fill_holes=True) == drawn("11111.222 1...1.222 1.3.1.222 1...1.222 11111.222")


def test_a_bay_at_the_border_is_no_hole():
    assert label("111 1.1 1.1", gap=0, fill_holes=True) == drawn("111 1.1 1.1")
    assert label("1111 1..1 11.1 1111", gap=0, fill_holes=True) == drawn("1111 1111 1111 1111")


def cut_touching(truth):
    """Cut a gap of one pixel between touching objects as training does: in raster order, looking back."""
    cut = np.pad(truth, 1)
    for y in range(1, cut.shape[0] - 1):
        for x in range(1, cut.shape[1] - 1):
            before = {cut[y, x - 1], cut[y - 1, x - 1], cut[y - 1, x], cut[y - 1, x + 1]}
            if before - {0, cut[y, x]}:
                cut[y, x] = 0
    return cut[1:-1, 1:-1]


def test_gives_back_what_training_cuts():
    truth = synthetic_cells(1, 160).instances[0]
    cut = cut_touching(truth)
    removed = (truth > 0) & (cut == 0)
    assert removed.sum() > 100
    back = label_instances(cut > 0)
    assert (back[removed] > 0).mean() > 0.9
    owner = np.array([0] + [np.bincount(truth[back == label]).argmax() for label in range(1, back.max() + 1)])
    assert (owner[back] == truth).mean() > 0.98


def seeded(text, **options):
    """Label a picture whose 2 are seeds and whose 1 are the rest of the mask."""
    return label(text, seeds=picture(text) == 2, **options)


def test_seeds_part_what_touches():
    assert seeded("2211122", gap=0) == "1111222"  # the middle is reached by both in one step: the smaller id
    assert seeded("22.11 22.11", gap=0) == drawn("11... 11...")  # what no seed reaches is background
    assert seeded("2.21", gap=1) == "1122"  # growth first, then the gap
    assert seeded("2.221", gap=0, min_size=2) == "..111"  # sizes are those of the seeds
    assert seeded("21. .12", gap=0) == drawn("11. .22")
    assert seeded("2.. .1. ..1", gap=0) == drawn("1.. .1. ..1")  # in the second step and in the fourth
    assert seeded("2" + 20 * "1", gap=0) == 13 * "1" + 8 * "."  # at most 12 steps


def grown_by_rule(instances, foreground):
    """The rule of the documentation, pixel by pixel."""
    height, width = instances.shape
    for step in range(12):
        before = instances.copy()
        for y, x in np.argwhere(foreground & (before == 0)):
            around = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if step % 2 or not dy or not dx]
            ids = [before[j, i] for j, i in around if 0 <= j < height and 0 <= i < width and before[j, i]]
            instances[y, x] = min(ids, default=0)
    return instances


@pytest.mark.parametrize("density", [0.3, 0.6, 0.9])
def test_seeds_grow_by_the_rule_pixel_by_pixel(density):
    random = np.random.default_rng(int(10 * density)).random((23, 31))
    mask, seeds = random < density, random < 0.03
    expected = grown_by_rule(label_instances(seeds, gap=0), mask)
    np.testing.assert_array_equal(label_instances(mask, gap=0, seeds=seeds), expected)


@pytest.mark.parametrize("mask", [np.zeros((3, 4)), np.zeros((0, 4)), np.zeros((0, 0))])
def test_no_objects(mask):
    labels = label_instances(mask, fill_holes=True, min_size=3)
    assert labels.shape == mask.shape
    assert labels.dtype == np.int32
    assert not labels.any()


def test_one_object_fills_the_image():
    assert (label_instances(np.ones((3, 4), bool), fill_holes=True) == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3),), r"mask: wanted shape \[H, W\], got \[3\]"),
        ((np.zeros((3, 3)), 1, 0, False, np.zeros((3, 1))), r"seeds: wanted shape \[3, 3\], got \[3, 1\]"),
        ((np.zeros((3, 3)), -1), "wanted gap and min_size from 0, got -1 and 0"),
        ((np.zeros((3, 3)), 1, -2), "wanted gap and min_size from 0, got 1 and -2"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match="label_instances: " + message):
        label_instances(*arguments)
