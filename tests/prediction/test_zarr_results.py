"""Results as OME-Zarr images: the same numbers as in TIFF files, a chunk for each tile, whole or not there."""

import json
import subprocess

import numpy as np
import pytest
import tifffile

from tests.ome_zarr import write_image
from tests.predicting import command, direct_net, noise, save, start
from unet_fast.atomic_write import replace_folder
from unet_fast.checkpoint import load_model
from unet_fast.data import PixelSize
from unet_fast.instances import label_instances
from unet_fast.predict import main, predict
from unet_fast.prediction import results, segmenter
from unet_fast.prediction.source import open_source

zarr = pytest.importorskip("zarr")


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "run", direct_net())


def metadata_of(path):
    """Return version, axes, scale and whether it is a label image, from the files themselves; and the array."""
    group = zarr.open_group(path, mode="r")
    if (path / "zarr.json").is_file():
        ome = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
        version = ome["version"]
    else:
        ome = json.loads((path / ".zattrs").read_text())
        version = ome["multiscales"][0]["version"]
    (image,) = ome["multiscales"]
    (level,) = image["datasets"]
    (step,) = level["coordinateTransformations"]
    return version, image["axes"], step["scale"], "image-label" in ome, group[level["path"]]


def assert_valid(path, version):
    """Check against the specification as other people have read it."""
    models = pytest.importorskip("ome_zarr_models")
    found = models.open_ome_zarr(zarr.open_group(path, mode="r"), version=version)
    assert "Image" in type(found).__name__
    if version == "0.5":
        array = json.loads((path / "0" / "zarr.json").read_text())
        assert array["dimension_names"] == [axis["name"] for axis in metadata_of(path)[1]]
    else:
        assert json.loads((path / "0" / ".zarray").read_text())["dimension_separator"] == "/"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("axes", "shape", "planes"), [("TCZYX", (2, 1, 3, 50, 70), "TZ"), ("YX", (50, 70), "")])
def test_an_ome_zarr_becomes_one(tmp_path, run, version, axes, shape, planes):
    pixels = noise(shape)
    write_image(tmp_path / "a.ome.zarr", version, pixels, axes, Z=2.0, Y=0.25, X=0.5)
    arguments = ["-i", tmp_path / "a.ome.zarr", "-o", tmp_path / "out", "-m", run, "--probabilities", "--tile", 60]
    assert main([str(argument) for argument in arguments]) == 0
    names = ["a_labels.ome.zarr", "a_probabilities.ome.zarr"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    model = load_model(run)
    expected = np.stack(
        [
            predict(model.net, plane, probabilities=True, normalization=model.normalization)
            for plane in pixels.reshape(-1, 50, 70)
        ]
    )
    labels, probabilities = (tmp_path / "out" / name for name in names)
    for path, letters in (
        (labels, f"{planes}YX"),
        (probabilities, f"{planes}YX".replace("T", "TC") if planes else "CYX"),
    ):
        assert_valid(path, version)
        found, found_axes, scale, is_label, array = metadata_of(path)
        assert found == version and is_label == (path is labels)
        assert [axis["name"].upper() for axis in found_axes] == list(letters)
        assert [axis["type"] for axis in found_axes] == [
            {"T": "time", "C": "channel"}.get(axis, "space") for axis in letters
        ]
        assert scale == [{"Z": 2.0, "Y": 0.25, "X": 0.5}.get(axis, 1.0) for axis in letters]
        assert array.chunks == tuple({"Y": 20, "X": 20, "C": 2}.get(axis, 1) for axis in letters)
        size = PixelSize(0.25, 0.5, "µm", 2.0 if planes else None)
        assert open_source(path).pixel_size == size
    found = zarr.open_group(labels)["0"]
    assert found.dtype == np.uint16
    for plane, one in zip(found[:].reshape(-1, 50, 70), expected, strict=True):
        assert np.array_equal(plane, label_instances(one.argmax(0) > 0))
    found = np.moveaxis(zarr.open_group(probabilities)["0"][:], 1 if planes else 0, -3)
    assert np.array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize(("form", "version"), [("ome-zarr", "0.5"), ("ome-zarr-0.4", "0.4")])
def test_a_tiff_becomes_one_on_request(tmp_path, run, form, version):
    options = {"imagej": True, "resolution": (4, 2), "metadata": {"axes": "ZYX", "unit": "um", "spacing": 3.0}}
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 60, 50)), **options)
    arguments = ["-i", str(tmp_path), "-o", str(tmp_path), "-m", str(run), "--result", "classes", "--format"]
    for _ in range(2):  # the second run finds results beside the image, and replaces them
        assert main([*arguments, form, "--probabilities", "--probability_dtype", "uint8"]) == 0
    names = ["a.tif", "a_labels.ome.zarr", "a_probabilities.ome.zarr", "run"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert main([*arguments, "tiff", "--probabilities", "--probability_dtype", "uint8"]) == 0
    for name in ("labels", "probabilities"):
        path = tmp_path / f"a_{name}.ome.zarr"
        assert_valid(path, version)
        found, _, scale, _, array = metadata_of(path)
        assert found == version and (scale[0], *scale[-2:]) == (3.0 if name == "labels" else 1.0, 0.5, 0.25)
        with tifffile.TiffFile(tmp_path / f"a_{name}.tif") as file:
            written = array[:] if name == "labels" else array[:].swapaxes(0, 1)
            assert np.array_equal(written, file.asarray())
            assert file.imagej_metadata["spacing"] == 3.0


def test_more_objects_than_16_bits_hold(tmp_path, run, monkeypatch):
    count = property(lambda self: 70000, lambda self, value: None)
    monkeypatch.setattr(results.Objects, "count", count, raising=False)
    tifffile.imwrite(tmp_path / "a.tif", noise((40, 30)))
    arguments = ["-i", tmp_path / "a.tif", "-o", tmp_path, "-m", run, "--format", "ome-zarr"]
    assert main([str(argument) for argument in arguments]) == 0
    assert zarr.open_group(tmp_path / "a_labels.ome.zarr")["0"].dtype == np.uint32


@pytest.mark.parametrize("result", ["classes", "instances"])
def test_an_interrupted_run_goes_on_at_the_missing_tiles(tmp_path, run, monkeypatch, result):
    image = noise((100, 100))
    tifffile.imwrite(tmp_path / "a.tif", image)
    out, computed, all_tiles = tmp_path / "out", [], segmenter.predict_tiles
    arguments = ["-i", tmp_path / "a.tif", "-o", out, "-m", run, "--tile", 60, "--probabilities", "--result", result]
    arguments = [str(argument) for argument in (*arguments, "--format", "ome-zarr")]

    def interrupted(*given):
        for task in all_tiles(*given):
            computed.append(task)
            if len(computed) == 7:
                raise KeyboardInterrupt
            yield task

    monkeypatch.setattr(segmenter, "predict_tiles", interrupted)
    assert main(arguments) == 130
    assert [path.name for path in out.iterdir()] == [".unfinished"]
    begun = len(computed)
    assert main(arguments) == 0
    assert begun == 7 and 25 - 3 <= len(computed) - 1 <= 25  # what was under way when it was stopped may be done again
    assert sorted(path.name for path in out.iterdir()) == ["a_labels.ome.zarr", "a_probabilities.ome.zarr"]
    model = load_model(run)
    expected = predict(model.net, image, probabilities=True, normalization=model.normalization)
    assert np.array_equal(zarr.open_group(out / "a_probabilities.ome.zarr")["0"][:], expected)
    labels = expected.argmax(0) if result == "classes" else label_instances(expected.argmax(0) > 0)
    assert np.array_equal(zarr.open_group(out / "a_labels.ome.zarr")["0"][:], labels)


def test_processes_write_to_one_image(tmp_path, run):
    image = noise((100, 130))
    tifffile.imwrite(tmp_path / "a.tif", image)
    arguments = ["-i", tmp_path / "a.tif", "-o", tmp_path / "out", "-m", run, "--tile", "60", "--result", "classes"]
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    process = start(command(*arguments, "--format", "ome-zarr", launcher=launcher), stdout=subprocess.DEVNULL)
    assert process.wait(100) == 0
    model = load_model(run)
    found = zarr.open_group(tmp_path / "out" / "a_labels.ome.zarr")["0"]
    assert found.chunks == (20, 20)
    assert np.array_equal(found[:], predict(model.net, image, normalization=model.normalization))


def test_interrupted_when_one_result_was_in_its_place(tmp_path, run, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", noise((50, 50)))
    out = tmp_path / "out"
    arguments = ["-i", tmp_path / "a.tif", "-o", out, "-m", run, "--probabilities", "--result", "classes"]
    arguments = [str(argument) for argument in (*arguments, "--format", "ome-zarr")]
    moved = []

    def interrupted(folder, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(target)
        replace_folder(folder, target)

    monkeypatch.setattr(results, "replace_folder", interrupted)
    assert main(arguments) == 130
    assert sorted(path.name for path in out.iterdir()) == [".unfinished", "a_labels.ome.zarr"]
    monkeypatch.undo()
    assert main(arguments) == 0
    labels, probabilities = (
        zarr.open_group(out / f"a_{name}.ome.zarr")["0"][:] for name in ("labels", "probabilities")
    )
    assert np.array_equal(labels, probabilities.argmax(0)) and labels.any()


@pytest.mark.parametrize("old", ["none", "folder", "file"])
def test_a_folder_takes_the_place_of_another(tmp_path, old):
    if old == "folder":
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "old").touch()
    elif old == "file":
        (tmp_path / "a").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "new").touch()
    replace_folder(tmp_path / "b", tmp_path / "a")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["a", "a/new"]
