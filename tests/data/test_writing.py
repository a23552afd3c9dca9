"""Writing labels and probabilities: what is read back, and that a file is whole or not there."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from unet_fast.atomic_write import atomic_write
from unet_fast.data import (
    PixelSize,
    read_image,
    read_labels,
    read_pixel_size,
    read_stack,
    write_labels,
    write_probabilities,
    writing,
)
from unet_fast.data.images import read_label_stack

SIZES = [
    None,
    PixelSize(0.25, 0.5, "µm"),
    PixelSize(2, 1, "nm"),
    PixelSize(0.002, 0.001, "inch"),
    PixelSize(1, 1, "µm", 2.5),
]


def describe(path):
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        kind = "ome" if file.is_ome else "imagej" if file.is_imagej else "plain"
        return kind, series.axes, series.dtype.name, file.pages.first.compression.name


@pytest.mark.parametrize("pixel_size", SIZES)
@pytest.mark.parametrize(
    ("highest", "form"),
    [
        (65535, ("imagej", "YX", "uint16", "ADOBE_DEFLATE")),
        (65536, ("ome", "YX", "uint32", "ADOBE_DEFLATE")),
    ],
)
def test_labels(tmp_path, pixel_size, highest, form):
    labels = np.arange(30).reshape(5, 6)
    labels[2, 3] = highest
    write_labels(tmp_path / "a.tif", labels, pixel_size)
    assert describe(tmp_path / "a.tif") == form
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels)
    written = read_pixel_size(tmp_path / "a.tif")
    if pixel_size is None:
        assert written is None
    else:
        assert written.z == pixel_size.z
        assert (written.y, written.x) == pytest.approx((pixel_size.y, pixel_size.x))
        assert written.unit in {pixel_size.unit, "in" if pixel_size.unit == "inch" else pixel_size.unit}


def test_stack_of_labels(tmp_path):
    labels = np.arange(60).reshape(2, 5, 6)
    write_labels(tmp_path / "a.tif", labels)
    assert describe(tmp_path / "a.tif")[:2] == ("imagej", "ZYX")
    np.testing.assert_array_equal(read_label_stack(tmp_path / "a.tif").codes, labels)


def test_mask(tmp_path):
    write_labels(tmp_path / "a.tif", np.eye(4, dtype=bool))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), np.eye(4))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3, 5, 6), "CYX"), ((1, 5, 6), "YX"), ((4, 2, 5, 6), "ZCYX"), ((4, 1, 5, 6), "ZYX")],
)
def test_probabilities(tmp_path, shape, axes):
    probabilities = np.random.default_rng(0).random(shape, dtype=np.float32)
    write_probabilities(tmp_path / "a.tif", probabilities, PixelSize(0.25, 0.25, "µm"))
    assert describe(tmp_path / "a.tif") == ("imagej", axes, "float32", "ADOBE_DEFLATE")
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif").reshape(shape), probabilities)
    assert read_pixel_size(tmp_path / "a.tif").x == pytest.approx(0.25)


def test_too_large_for_imagej(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_IMAGEJ_BYTES", 100)
    write_labels(tmp_path / "a.tif", np.ones((20, 20), dtype=np.uint8), PixelSize(0.5, 0.5, "µm"))
    assert describe(tmp_path / "a.tif")[:3] == ("ome", "YX", "uint16")
    assert read_pixel_size(tmp_path / "a.tif") == PixelSize(0.5, 0.5, "µm")


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"resolution": (2000, 1000), "resolutionunit": "CENTIMETER"}, PixelSize(0.001, 0.0005, "cm")),
        ({"resolution": (4, 2), "imagej": True, "metadata": {"unit": "\\u00B5m"}}, PixelSize(0.5, 0.25, "µm")),
        ({"resolution": (4, 2), "imagej": True, "metadata": {"unit": "micron"}}, PixelSize(0.5, 0.25, "µm")),
        ({"resolution": (4, 2), "imagej": True, "metadata": {"unit": "pixel"}}, None),
        ({"resolution": (50, 100)}, PixelSize(0.01, 0.02, "inch")),
        ({"resolution": (50, 100), "resolutionunit": "NONE"}, None),
        ({}, None),
        (
            {"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}},
            PixelSize(0.5, 0.25, "µm"),
        ),
        ({"ome": True}, None),
        (
            {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "YX", "unit": "um", "spacing": 3}},
            PixelSize(0.5, 0.25, "µm", 3),
        ),
        (
            {
                "ome": True,
                "metadata": {"axes": "YX", "PhysicalSizeX": 1, "PhysicalSizeY": 1, "PhysicalSizeZ": 2}
                | {"PhysicalSizeZUnit": "mm"},
            },
            PixelSize(1, 1, "µm"),  # the distance of the planes is in another unit
        ),
    ],
)
def test_pixel_size_of_other_programs(tmp_path, tags, wanted):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5), np.uint8), **tags)
    assert read_pixel_size(tmp_path / "a.tif") == wanted


def test_pictures_have_no_pixel_size(tmp_path):
    assert read_pixel_size(tmp_path / "a.png") is None


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.zeros((4, 4)), TypeError, "write_labels: labels: wanted whole numbers, got float64"),
        (np.zeros(4, int), ValueError, r"write_labels: labels: wanted shape \[H, W\] or \[N, H, W\], got \[4\]"),
        (np.full((2, 2), -1), ValueError, r"write_labels: labels: wanted 0..2\^32 - 1, got -1..-1"),
    ],
)
def test_label_errors(tmp_path, labels, error, message):
    with pytest.raises(error, match=message):
        write_labels(tmp_path / "a.tif", labels)
    assert not list(tmp_path.iterdir())


def test_probability_errors(tmp_path):
    with pytest.raises(TypeError, match="probabilities: wanted float32, got float64"):
        write_probabilities(tmp_path / "a.tif", np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match=r"probabilities: wanted shape \[K, H, W\] or .*, got \[3, 3\]"):
        write_probabilities(tmp_path / "a.tif", np.zeros((3, 3), np.float32))


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    old, new = np.ones((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    write_labels(tmp_path / "a.tif", old)

    def break_off(path, values, **options):
        with open(path, "wb") as file:
            file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(writing, "tifffile", SimpleNamespace(imwrite=break_off))
    with pytest.raises(OSError, match="disk full"):
        write_labels(tmp_path / "a.tif", new)
    with pytest.raises(OSError, match="disk full"):
        write_labels(tmp_path / "b.tif", new)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), old)


def test_the_target_is_not_there_before_all_is_written(tmp_path):
    with atomic_write(tmp_path / "a.npy") as temporary:
        np.save(temporary, np.zeros((2, 2)))
        assert not (tmp_path / "a.npy").exists()
        assert temporary.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert read_image(tmp_path / "a.npy").shape == (1, 2, 2)


@pytest.mark.skipif(os.name != "posix", reason="file permissions of POSIX")
def test_a_new_file_has_the_usual_permissions(tmp_path):
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    (tmp_path / "b.txt").write_text("b")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="wanted an existing folder to write into"):
        write_labels(tmp_path / "none" / "a.tif", np.zeros((2, 2), int))


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        pass
