"""Prediction of files, window by window: the same bits as of the whole image."""

import os
from functools import partial

import numpy as np
import pytest
import tifffile
import torch

from tests.predicting import direct_net, noise, save
from unet_fast import ops, reference
from unet_fast.checkpoint import load_model
from unet_fast.data import Normalization
from unet_fast.geometry import border, legal_side, mirrored_extent
from unet_fast.instances import label_instances
from unet_fast.model import UNet
from unet_fast.predict import main, predict
from unet_fast.prediction import results


def whole_pass(net, image):
    """Probabilities [K, H, W] of an image [C, H, W] mirrored and seen at once."""
    height, width = image.shape[1:]
    side = (legal_side(height, net.depth), legal_side(width, net.depth))
    margin = -border(net.depth) // 2
    tile = reference.mirror_tiles(image, torch.tensor([[margin, margin]]), side)
    with torch.inference_mode():
        return net(tile, softmax=True)[0, :, :height, :width].numpy()


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (33, 2), (61, 77), (128, 100)])
@pytest.mark.parametrize("tile", [44, 52, (48, 92), 180])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_bits_as_the_whole_image(size, tile, channels, generator):
    net, image = direct_net(channels), torch.rand(channels, *size, generator=generator)
    found = predict(net, image.numpy(), tile, probabilities=True)
    assert np.array_equal(found, whole_pass(net, image))


def test_the_same_bits_at_the_paper_s_depth(generator, monkeypatch):
    """Where Winograd's algorithm does not run: it cuts a layer into blocks from the tile's edge, and rounds by them."""
    for name in ("conv_relu", "conv_relu_pool"):
        monkeypatch.setattr(ops, name, partial(getattr(ops, name), algorithm="direct"))
    monkeypatch.setattr(ops, "pack_conv_relu", lambda weight: None)
    torch.manual_seed(0)
    net, image = UNet(base=8).eval(), torch.rand(1, 150, 90, generator=generator)
    assert np.array_equal(predict(net, image, 236, probabilities=True), whole_pass(net, image))


@pytest.mark.parametrize("size", [1, 2, 5, 20, 100])
@pytest.mark.parametrize("side", [1, 7, 44])
def test_a_tile_of_its_extent_is_a_tile_of_the_image(size, side):
    image = torch.arange(size, dtype=torch.float32)[None, None]
    for origin in range(-50, size):
        start, stop = mirrored_extent(origin, side, size)
        assert 0 <= start < stop <= size
        whole = reference.mirror_tiles(image, torch.tensor([[0, origin]]), (1, side))
        part = reference.mirror_tiles(image[..., start:stop], torch.tensor([[0, origin - start]]), (1, side))
        assert torch.equal(part, whole)


@pytest.mark.parametrize("kind", ["percentile", "zscore", "dtype", "none"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_files_equal_arrays(tmp_path, kind, dtype):
    folder = save(tmp_path / "run", direct_net(), normalization=Normalization(kind))
    image = (noise((90, 70), dtype) / (1 if np.dtype(dtype).kind == "u" else 1000)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, compression="zlib", tile=(16, 32))
    arguments = ["-i", str(tmp_path / "a.tif"), "-o", str(tmp_path / "out"), "-m", str(folder), "--probabilities"]
    assert main([*arguments, "--tile", "60"]) == 0
    model = load_model(folder)
    expected = predict(model.net, image, 100, probabilities=True, normalization=model.normalization)
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "a_probabilities.tif"), expected)
    labels = tifffile.imread(tmp_path / "out" / "a_labels.tif")
    assert np.array_equal(labels, label_instances(expected.argmax(0) > 0))
    assert not (tmp_path / "out" / ".unfinished").exists()


@pytest.mark.parametrize(
    ("axes", "shape", "written"),
    [
        ("TZYX", (2, 3, 40, 30), "TZYX"),
        ("TYX", (2, 40, 30), "TYX"),
        ("ZYX", (3, 40, 30), "ZYX"),
        ("YX", (40, 30), "YX"),
    ],
)
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_axes_and_pixel_size_are_kept(tmp_path, run, axes, shape, written, kind):
    metadata = {"axes": axes}
    if kind == "ome":
        metadata |= {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    options = (
        {"resolution": (4, 4), "metadata": metadata | {"unit": "um"}} if kind == "imagej" else {"metadata": metadata}
    )
    image = noise(shape)
    tifffile.imwrite(tmp_path / "a.tif", image, **{kind: True}, photometric="minisblack", **options)
    arguments = ["-i", str(tmp_path / "a.tif"), "-o", str(tmp_path), "-m", str(run), "--probabilities"]
    assert main([*arguments, "--probability_dtype", "uint8"]) == 0
    model = load_model(run)
    expected = [
        predict(model.net, plane, probabilities=True, normalization=model.normalization)
        for plane in image.reshape(-1, 40, 30)
    ]
    with tifffile.TiffFile(tmp_path / "a_labels.tif") as file:
        assert file.is_imagej and file.series[0].axes == written and file.series[0].dtype == np.uint16
        assert file.pages.first.tags["XResolution"].value == (4, 1) and file.imagej_metadata["unit"] == "micron"
        labels = file.asarray().reshape(-1, 40, 30)
    for plane, one in zip(labels, expected, strict=True):
        assert np.array_equal(plane, label_instances(one.argmax(0) > 0))
    with tifffile.TiffFile(tmp_path / "a_probabilities.tif") as file:
        assert file.series[0].axes == written[:-2] + "CYX" and file.series[0].dtype == np.uint8
        assert np.array_equal(file.asarray().reshape(-1, 2, 40, 30), np.rint(np.stack(expected) * 255))


@pytest.mark.parametrize("axes", ["TZCYX", "CYX"])
def test_channels_of_a_stack_are_one_image(tmp_path, axes):
    """A hyperstack is segmented plane by plane, with all channels of a plane at once."""
    folder = save(tmp_path / "run", direct_net(2))
    image = noise((3, 2, 2, 40, 30)[-len(axes) :])
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, photometric="minisblack", metadata={"axes": axes})
    arguments = ["-i", tmp_path / "a.tif", "-o", tmp_path, "-m", folder, "--result", "classes"]
    assert main([str(argument) for argument in arguments]) == 0
    model = load_model(folder)
    expected = [predict(model.net, plane, normalization=model.normalization) for plane in image.reshape(-1, 2, 40, 30)]
    with tifffile.TiffFile(tmp_path / "a_labels.tif") as file:
        assert file.series[0].axes == axes.replace("C", "")
        assert np.array_equal(file.asarray().reshape(-1, 40, 30), expected)


@pytest.mark.parametrize(
    "options", [{"gap": 3}, {"min_size": 5}, {"fill_holes": True}, {"gap": 0, "min_size": 3, "fill_holes": True}]
)
def test_options_for_objects(tmp_path, run, options):
    sparse = np.random.default_rng(1).random((90, 70)) < 0.03
    image = np.where(sparse, noise((90, 70)), 0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image)
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))[: 1 if value is True else 2]]
    arguments = ["-i", tmp_path / "a.tif", "-o", tmp_path, "-m", run, "--tile", 60, "--tta", "mirrors", *flags]
    assert main([str(argument) for argument in arguments]) == 0
    model = load_model(run)
    mask = predict(model.net, image, normalization=model.normalization, average="mirrors")
    expected = label_instances(mask, **options)
    assert np.array_equal(tifffile.imread(tmp_path / "a_labels.tif"), expected)
    assert not np.array_equal(expected, label_instances(mask))


@pytest.mark.parametrize(
    ("form", "threshold", "seeds"), [("tiff", None, 0.8), ("ome-zarr", 0.4, 0.8), ("tiff", 0.4, None)]
)
def test_objects_by_probability(tmp_path, run, form, threshold, seeds):
    image = noise((90, 70))
    tifffile.imwrite(tmp_path / "a.tif", image)
    flags = ["--tile", 60, "--format", form]
    for name, value in (("--threshold", threshold), ("--seeds", seeds)):
        flags += [] if value is None else [name, value]
    arguments = ["-i", tmp_path / "a.tif", "-o", tmp_path, "-m", run, *flags]
    assert main([str(argument) for argument in arguments]) == 0
    model = load_model(run)
    found = predict(model.net, image, probabilities=True, normalization=model.normalization)
    most_probable, foreground = found.argmax(0) > 0, 1 - found[0]
    mask = most_probable if threshold is None else foreground >= np.float32(threshold)
    expected = label_instances(mask, seeds=None if seeds is None else foreground >= np.float32(seeds))
    if form == "tiff":
        labels = tifffile.imread(tmp_path / "a_labels.tif")
    else:
        labels = pytest.importorskip("zarr").open_group(tmp_path / "a_labels.ome.zarr", mode="r")["0"][:]
    assert np.array_equal(labels, expected)
    assert expected.max() > 1 and not np.array_equal(expected, label_instances(most_probable))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seeds", "1.5"], "seeds: wanted a probability above 0, at most 1, got 1.5"),
        (["--threshold", "0"], "threshold: wanted a probability above 0, at most 1, got 0.0"),
        (["--seeds", "0.8", "--result", "classes"], "seeds: wanted none where the result is classes, got 0.8"),
        (["--threshold", "0.3", "--result", "classes"], "threshold: wanted none where the result is classes, got 0.3"),
    ],
)
def test_probabilities_that_cannot_be(tmp_path, run, capsys, flags, message):
    tifffile.imwrite(tmp_path / "a.tif", noise((40, 30)))
    arguments = ["-i", str(tmp_path / "a.tif"), "-o", str(tmp_path), "-m", str(run), *flags]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_challenges(tmp_path, run):
    sequence = tmp_path / "data" / "01"
    sequence.mkdir(parents=True)
    for number in (0, 7):
        tifffile.imwrite(sequence / f"t{number:03}.tif", noise((40, 30)) + number)
    assert main(["-i", str(tmp_path / "data"), "-o", str(tmp_path / "out"), "-m", str(run)]) == 0
    masks = sorted((tmp_path / "out" / "01_RES").iterdir())
    assert [path.name for path in masks] == ["mask000.tif", "mask007.tif"]
    assert tifffile.imread(masks[0]).dtype == np.uint16
    stack = noise((3, 40, 30), np.uint8)
    tifffile.imwrite(tmp_path / "test-volume.tif", stack, photometric="minisblack")
    inputs = ["-i", str(tmp_path / "test-volume.tif"), "-o", str(tmp_path / "out"), "-m", str(run)]
    assert main([*inputs, "--layout", "isbi"]) == 0
    found = tifffile.imread(tmp_path / "out" / "test-volume_probabilities.tif")
    model = load_model(run)
    assert found.shape == (3, 40, 30) and found.dtype == np.float32
    expected = predict(model.net, stack[2], probabilities=True, normalization=model.normalization)[1]
    assert np.array_equal(found[2], expected)


def test_more_objects_than_16_bits_hold(tmp_path, run, monkeypatch):
    monkeypatch.setattr(results.Objects, "count", property(lambda self: 70000, lambda self, value: None), raising=False)
    tifffile.imwrite(tmp_path / "a.tif", noise((40, 30)))
    assert main(["-i", str(tmp_path / "a.tif"), "-o", str(tmp_path), "-m", str(run)]) == 0
    with tifffile.TiffFile(tmp_path / "a_labels.tif") as file:
        assert file.is_ome and file.is_bigtiff and file.series[0].dtype == np.uint32


BAD = {
    "text.tif": (lambda path: path.write_bytes(b"text"), "cannot be read as an image"),
    "colour.tif": (lambda path: tifffile.imwrite(path, noise((9, 9, 3)), photometric="rgb"), "wanted 1 channel"),
    "nan.npy": (lambda path: np.save(path, np.full((50, 50), np.nan, np.float32)), "wanted finite values, got nan"),
    "empty.npy": (lambda path: np.save(path, np.zeros((0, 3), np.uint8)), "wanted at least one pixel"),
    "complex.npy": (lambda path: np.save(path, np.zeros((9, 9), complex)), "wanted an image of real numbers"),
    "short.tif": (
        lambda path: (tifffile.imwrite(path, noise((90, 70)), compression="zlib"), os.truncate(path, 3000)),
        "cannot be read as an image",
    ),
}


def test_the_rest_of_a_folder_is_done(tmp_path, run, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for name, (write, _) in BAD.items():
        write(images / name)
    tifffile.imwrite(images / "good.tif", noise((40, 30)))
    tifffile.imwrite(images / "zz.tif", noise((40, 30)))
    assert main(["-i", str(images), "-o", str(out), "-m", str(run)]) == 1
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(BAD)
    for name, (_, message) in BAD.items():
        assert any(str(images / name) in line and message in line for line in errors), (name, errors)
    assert "6 of 8 file(s) could not be segmented" in captured.out
    assert sorted(path.name for path in out.iterdir()) == ["good_labels.tif", "zz_labels.tif"]


def test_memory_limits_the_tile(tmp_path, run, capsys):
    tifffile.imwrite(tmp_path / "a.tif", noise((40, 30)))
    arguments = ["-i", str(tmp_path / "a.tif"), "-o", str(tmp_path), "-m", str(run), "--memory"]
    assert main([*arguments, "2M"]) == 0
    assert main([*arguments, "10K"]) == 1
    assert "memory: wanted at least" in capsys.readouterr().err
    assert main([*arguments, "all"]) == 1
    assert "memory: wanted an amount" in capsys.readouterr().err
