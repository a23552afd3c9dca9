"""The baselines by the U-Net's commands: train, go on, predict."""

import numpy as np
import pytest
import tifffile
import torch

from tests.training import assert_same, weights, write_cells
from unet_fast import predict, train
from unet_fast.checkpoint import Model, load_model, save_model
from unet_fast.data import Normalization
from unet_fast.networks import NETWORKS, build

TILES = {"sliding_window": "110", "fcn8s": "436", "fcn16s": "436", "fcn32s": "436"}
WINDOW = {"sliding_window": ["--window", "33"]}


@pytest.mark.parametrize("model", TILES)
def test_train_resume_and_predict(model, tmp_path):
    data = write_cells(tmp_path / "data")
    settings = ["--data", str(data), "--model", model, "--base", "2", "--tile", TILES[model], "--validate_every", "9"]
    settings += WINDOW.get(model, [])
    assert train.main([*settings, "--out", str(tmp_path / "whole"), "--steps", "4", "--schedule", "constant"]) == 0
    stopped = tmp_path / "stopped"
    assert train.main([*settings, "--out", str(stopped), "--steps", "2", "--schedule", "constant"]) == 0
    assert train.main(["--resume", str(stopped), "--steps", "4"]) == 0
    assert_same(weights(tmp_path / "whole"), weights(stopped))

    out = tmp_path / "results"
    arguments = ["-i", str(data / "images" / "0.tif"), "-o", str(out), "-m", str(stopped), "--probabilities"]
    assert predict.main(arguments) == 0
    probabilities = tifffile.imread(out / "0_probabilities.tif")
    assert probabilities.shape == (2, 80, 80)
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    assert load_model(stopped).net.kind == model


@pytest.mark.parametrize("kind", NETWORKS)
def test_model_files_keep_the_network(kind, tmp_path, generator):
    torch.manual_seed(0)
    net = build(kind, {"channels": 2, "classes": 3, "base": 2}).eval()
    save_model(tmp_path / "model.safetensors", Model(net, Normalization("none")))
    loaded = load_model(tmp_path / "model.safetensors").net
    assert type(loaded) is type(net)
    assert loaded.settings == net.settings
    image = torch.rand(1, 2, 444 if kind == "unet" else 436, 444 if kind == "unet" else 468, generator=generator)
    assert torch.equal(loaded(image), net(image))


@pytest.mark.parametrize("kind", NETWORKS)
def test_prediction_by_tiles_is_that_of_the_whole(kind, generator):
    torch.manual_seed(0)
    net = build(kind, {"base": 2}).eval()
    image = torch.rand(90, 75, generator=generator)
    sides = net.sides
    smallest = sides.border + sides.grid
    smallest += (sides.remainder - smallest) % sides.grid + (31 if kind == "sliding_window" else 0)
    whole = predict.predict(net, image, probabilities=True)
    tiled = predict.predict(net, image, tile=smallest, probabilities=True)
    assert np.abs(whole - tiled).max() < 1e-5
    assert whole.std() > 0


@pytest.mark.parametrize("kind", ["fcn8s", "sliding_window"])
def test_dropout_masks_are_the_images_own(kind, generator):
    torch.manual_seed(0)
    net = build(kind, {"base": 2}).train()
    images = torch.rand(2, 1, 436, 436, generator=generator)
    both = net(images, [3, 5])
    assert torch.allclose(both[1:], net(images[1:], [5]), atol=1e-5)
    if kind == "fcn8s":
        assert not torch.allclose(both[1:], net(images[1:], [6]), atol=1e-5)


def test_bfloat16_follows_float32(generator):
    torch.manual_seed(0)
    net = build("fcn8s", {"base": 2}).eval()
    image = torch.rand(1, 1, 436, 436, generator=generator)
    scores, expected = net(image.bfloat16()), net(image)
    assert scores.dtype == torch.bfloat16
    assert (scores - expected).norm() <= 0.1 * expected.norm()


def test_errors(tmp_path, capsys):
    data = str(write_cells(tmp_path / "data"))
    for arguments, message in (
        (["--model", "fcn8s"], "tile: wanted a legal input side of an FCN-8s"),
        (["--model", "sliding_window", "--window", "64"], "window: wanted one of 33, 65, 95 pixels, got 64"),
        (["--model", "fcn8s", "--gradient_checkpointing", "true"], "gradient_checkpointing: wanted --model unet"),
        (["--model", "segnet"], "segnet"),
    ):
        assert train.main(["--data", data, "--out", str(tmp_path / "run"), "--base", "2", *arguments]) == 1
        assert message in capsys.readouterr().err
