"""Overlap-tile prediction: the same as one pass over the whole image; and the command."""

import numpy as np
import pytest
import tifffile
import torch

from unet_fast import reference
from unet_fast.checkpoint import Model, load_model, save_model
from unet_fast.data import Normalization
from unet_fast.geometry import legal_side
from unet_fast.model import UNet
from unet_fast.predict import main, predict


def small_net(channels: int = 1, classes: int = 2, backend: str = "native") -> UNet:
    torch.manual_seed(0)
    return UNet(channels, classes, base=4, backend=backend).eval()


def whole_pass(net: UNet, image: torch.Tensor) -> torch.Tensor:
    """Probabilities [K, H, W] of an image [C, H, W] mirrored and seen at once."""
    height, width = image.shape[1:]
    side = (legal_side(height), legal_side(width))
    tile = reference.mirror_tiles(image, torch.tensor([[-92, -92]]), side)
    with torch.inference_mode():
        return net(tile.to(next(net.parameters()).dtype)).softmax(1)[0, :, :height, :width]


@pytest.mark.parametrize("size", [(1, 1), (30, 50), (100, 37), (211, 160)])
@pytest.mark.parametrize("tile", [None, 204, 252, (252, 204)])
def test_tiled_equals_whole(size, tile, generator):
    net, image = small_net(), torch.rand(1, *size, generator=generator)
    found = predict(net, image.numpy(), tile, probabilities=True)
    assert found.shape == (2, *size) and found.dtype == np.float32
    # Tiles of different sizes may take different paths through the convolutions: equal but for their rounding.
    np.testing.assert_allclose(found, whole_pass(net, image).numpy(), rtol=0, atol=1e-5)


def test_tiled_equals_whole_in_float64(generator):
    net = small_net(backend="torch").double()
    image = torch.rand(1, 150, 170, generator=generator)
    tiles = reference.mirror_tiles(image, torch.tensor([[-92, -92], [-92 + 16, -92 + 32]]), 252).double()
    with torch.inference_mode():
        part = net(tiles).softmax(1)
    whole = whole_pass(net, image)
    assert torch.equal(part[0], whole[:, :68, :68])
    assert torch.equal(part[1], whole[:, 16:84, 32:100])


def test_labels_are_the_most_probable_classes(generator):
    net, image = small_net(3, 5), torch.rand(3, 60, 40, generator=generator).numpy()
    labels = predict(net, image)
    assert labels.shape == (60, 40) and labels.dtype == np.uint8
    assert np.array_equal(labels, predict(net, image, probabilities=True).argmax(0))


def test_normalises_integers_while_gathering(generator):
    net = small_net()
    image = (torch.rand(1, 50, 50, generator=generator) * 1000).numpy().astype(np.uint16)
    normalization = Normalization("percentile")
    found = predict(net, image, probabilities=True, normalization=normalization)
    expected = predict(net, normalization.apply(image), probabilities=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_leaves_the_model_as_it_was(generator):
    net = small_net().train()
    image = torch.rand(20, 20, generator=generator)
    assert np.array_equal(predict(net, image), predict(net, image))
    assert net.training


def test_errors():
    with pytest.raises(ValueError, match=r"image: wanted shape \[3, H, W\], got \[20, 20\]"):
        predict(small_net(3), np.zeros((20, 20), np.float32))
    with pytest.raises(ValueError, match="tile: wanted a legal input side"):
        predict(small_net(), np.zeros((20, 20), np.float32), tile=200)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    save_model(folder / "model.safetensors", Model(small_net(), Normalization(), "instances"))
    return folder


def test_command(tmp_path, run, generator, capsys):
    images = tmp_path / "images"
    images.mkdir()
    stack = (torch.rand(2, 70, 90, generator=generator) * 255).byte().numpy()
    tifffile.imwrite(images / "one.tif", stack[0], resolution=(4, 4), metadata={"unit": "um"}, imagej=True)
    tifffile.imwrite(images / "two.tif", stack, metadata={"axes": "ZYX"}, imagej=True)
    out = tmp_path / "out"
    assert main(["-i", str(images), "-o", str(out), "-m", str(run), "--probabilities"]) == 0
    assert "the results are in" in capsys.readouterr().out
    with tifffile.TiffFile(out / "one_labels.tif") as file:
        assert file.is_imagej and file.series[0].shape == (70, 90) and file.series[0].dtype == np.uint16
    assert tifffile.imread(out / "two_labels.tif").shape == (2, 70, 90)
    assert tifffile.imread(out / "one_probabilities.tif").shape == (2, 70, 90)
    model = load_model(run)
    expected = predict(model.net, stack[0], probabilities=True, normalization=model.normalization)
    assert np.array_equal(tifffile.imread(out / "one_probabilities.tif"), expected)
    labels = tifffile.imread(out / "one_labels.tif")
    assert (labels[expected.argmax(0) > 0] > 0).all()


def test_command_errors(tmp_path, run, capsys):
    assert main(["-i", str(tmp_path / "none"), "-o", str(tmp_path), "-m", str(run)]) == 1
    assert "error: input: wanted an image or a folder of images" in capsys.readouterr().err
    (tmp_path / "image.npy").write_bytes(b"")
    assert main(["-i", str(tmp_path), "-o", str(tmp_path), "-m", str(tmp_path)]) == 1
    assert "error: model: wanted a run folder with model.safetensors" in capsys.readouterr().err


def test_model_file_round_trip_and_errors(tmp_path, run):
    model = load_model(run)
    assert model.labels == "instances" and model.normalization == Normalization()
    for ours, theirs in zip(model.net.state_dict().values(), small_net().state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"foreign\.safetensors is not a model file of unet_fast"):
        load_model(foreign)
