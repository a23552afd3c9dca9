"""Which images are found, and what their results are called."""

from pathlib import Path

import pytest

from unet_fast.prediction.files import find_jobs

OUT = Path("out")


def made(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def found(*arguments):
    return [(job.image.name, *(str(path.relative_to(OUT)) for path in job.results)) for job in find_jobs(*arguments)]


def test_a_folder(tmp_path):
    made(tmp_path, "t10.tif", "t2.png", "notes.txt", "c.ome.tif", "d.zarr/zarr.json", "sub/e.tif")
    assert found(tmp_path, OUT, "auto", False) == [
        ("c.ome.tif", "c_labels.tif"),
        ("d.zarr", "d_labels.ome.zarr"),
        ("t2.png", "t2_labels.tif"),
        ("t10.tif", "t10_labels.tif"),
    ]


def test_a_file_and_an_ome_zarr(tmp_path):
    made(tmp_path, "a.b.tif", "c.ome.zarr/.zattrs")
    assert found(tmp_path / "a.b.tif", OUT, "auto", True) == [("a.b.tif", "a.b_labels.tif", "a.b_probabilities.tif")]
    assert found(tmp_path / "c.ome.zarr", OUT, "files", False) == [("c.ome.zarr", "c_labels.ome.zarr")]
    assert found(tmp_path / "c.ome.zarr", OUT, "files", False, "tiff") == [("c.ome.zarr", "c_labels.tif")]


def test_versions_of_ome_zarr(tmp_path):
    made(tmp_path, "a.tif", "b.zarr/.zattrs", "c.zarr/zarr.json")
    versions = {
        form: [job.zarr for job in find_jobs(tmp_path, OUT, "auto", False, form)]
        for form in ("auto", "tiff", "ome-zarr", "ome-zarr-0.4")
    }
    assert versions == {
        "auto": [None, "0.4", "0.5"],
        "tiff": [None] * 3,
        "ome-zarr": ["0.5", "0.4", "0.5"],
        "ome-zarr-0.4": ["0.4"] * 3,
    }


def test_a_pattern(tmp_path, monkeypatch):
    made(tmp_path, "x/a1.tif", "y/a2.tif", "y/b.tif")
    expected = [("a1.tif", "a1_labels.tif"), ("a2.tif", "a2_labels.tif")]
    assert found(tmp_path / "*" / "a?.tif", OUT, "auto", False) == expected
    monkeypatch.chdir(tmp_path)
    assert found(Path("*/a*.tif"), OUT, "auto", False) == expected


def test_a_challenge(tmp_path):
    made(tmp_path, "01/t000.tif", "01/t001.tif", "01_GT/SEG/man_seg000.tif", "02/t0007.tif", "02/other.tif")
    expected = [("t000.tif", "01_RES/mask000.tif"), ("t001.tif", "01_RES/mask001.tif")]
    assert found(tmp_path, OUT, "auto", False) == [*expected, ("t0007.tif", "02_RES/mask0007.tif")]
    assert found(tmp_path / "01", OUT, "ctc", False) == expected
    assert found(tmp_path / "01", OUT, "files", False) == [
        ("t000.tif", "t000_labels.tif"),
        ("t001.tif", "t001_labels.tif"),
    ]
    with pytest.raises(FileNotFoundError, match="wanted a sequence 01 with frames"):
        find_jobs(tmp_path / "01_GT", OUT, "ctc", False)
    with pytest.raises(ValueError, match="format: wanted auto or tiff, as the layout ctc is one of TIFF files"):
        find_jobs(tmp_path, OUT, "auto", False, "ome-zarr")


def test_a_stack_of_probabilities(tmp_path):
    made(tmp_path, "test-volume.tif")
    assert found(tmp_path, OUT, "isbi", False) == [("test-volume.tif", "test-volume_probabilities.tif")]


def test_results_beside_their_images_are_no_images(tmp_path):
    made(tmp_path, "a.tif", "a_labels.tif", "a_labels.ome.zarr/zarr.json", "a_probabilities.tif", "b_labels.tif")
    jobs = find_jobs(tmp_path, tmp_path, "auto", True)
    assert [job.image.name for job in jobs] == ["a.tif", "b_labels.tif"]


def test_results_of_one_name(tmp_path):
    made(tmp_path, "a.tif", "a.png")
    with pytest.raises(ValueError, match=r"got a.png and a.tif, which would both become a_labels.tif"):
        find_jobs(tmp_path, OUT, "auto", False)


@pytest.mark.parametrize("name", ["none", "none*.tif", "."])
def test_nothing(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="input: wanted an image or a folder of images"):
        find_jobs(tmp_path / name, OUT, "auto", False)
