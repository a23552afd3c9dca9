"""Training from the command line: it learns, it repeats, it says what is wrong."""

import csv

import pytest
import torch
import yaml

from tests.training import TINY, assert_same, bright_cells, weights
from unet_fast.checkpoint import load_model
from unet_fast.config import PRESETS, TrainConfig
from unet_fast.train import main
from unet_fast.trainer import Trainer
from unet_fast.trainer.step import Step


def test_learns(tmp_path):
    shape = {"base": 8, "depth": 3, "tile": 180}
    config = TrainConfig(**PRESETS["modern"], **shape, steps=120, border=0.0, dropout=0.0, validation=0.15)
    trainer = Trainer(config, bright_cells(7), tmp_path)
    trainer.fit()
    losses = [row["loss"] for row in trainer.state.rows if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert trainer.state.rows[-1]["iou"] > max(0.6, trainer.state.rows[0]["iou"] + 0.2)


def test_run_folder_is_complete(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*TINY, "--steps", "3", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "16 labelled images" in said and "python -m unet_fast.predict" in said
    for name in ("config.yaml", "env.json", "metrics.csv", "progress.png", "model.safetensors", "checkpoint_last.pt"):
        assert (out / name).stat().st_size > 0
    assert (out / "preview" / "epoch_000.png").stat().st_size > 0
    assert yaml.safe_load((out / "config.yaml").read_text())["base"] == 4
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [float(row["epoch"]) > 0 for row in rows] == [False, True]  # before training, and where it ended
    assert 0 <= float(rows[1]["seg"]) <= 1 and float(rows[1]["loss"]) > 0
    assert load_model(out).net.base == 4
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_the_same_seed_gives_the_same_bits(tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main([*TINY, "--steps", "2", "--seed", seed, "--out", str(tmp_path / name)]) == 0
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not torch.equal(weights(tmp_path / "a")["head.weight"], weights(tmp_path / "c")["head.weight"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tile", "512"], "tile: wanted a legal input side"),
        (["--lr", "-1"], "lr: wanted a positive number, got -1"),
        (["--lr", "fast"], 'Parser key "lr"'),
        (["--preset", "newest"], "preset: wanted paper or modern, got 'newest'"),
        (["--bass", "8"], "--bass"),
        (["--hours", "0"], "hours: wanted a positive number, got 0"),
        (["--ema", "1"], "ema: wanted 0 to below 1, got 1"),
        (["--fold", "9"], 'fold: wanted K/N with K from 1 to N, such as "1/5", got'),
        (["--fold", "6/5"], "fold: wanted K/N"),
        (["--fold", "1/99"], "fold: wanted at most 16 folds, one for each image, got 1/99"),
        (["--accumulate", "2"], "accumulate: wanted a divisor of batch_size = 1, got 2"),
        (["--precision", "tf32", "--device", "cpu"], "precision: tf32 is a mode of CUDA devices"),
        (["--device", "abacus"], "device: wanted cpu, cuda or auto, got 'abacus'"),
        (["--score", "rand_error"], "score: wanted seg, iou, pixel_error for labels of kind instances, got rand_error"),
        (["--class_weight", "[1, 2, 3]"], "wanted 2 finite weights"),
        (["--init", "nowhere"], "nowhere"),
        (["--augment.zoom", "0.5"], "augment: zoom: wanted a number of at least 1, got 0.5"),
        (["--data", "nowhere"], "nowhere"),
        (["--resume", "nowhere"], "resume: wanted the folder of a run with config.yaml, got nowhere"),
        (["--resume", "auto"], "resume: auto: wanted --out RUN beside it"),
    ],
)
def test_errors(tmp_path, arguments, message, capsys):
    out = [] if "--resume" in arguments else ["--out", str(tmp_path / "run")]
    assert main([*arguments, *out]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_short_of_memory_it_says_what_helps(tmp_path, monkeypatch, capsys, error):
    def take(step, *arguments):
        raise error

    monkeypatch.setattr(Step, "take", take)
    assert main([*TINY, "--steps", "1", "--out", str(tmp_path / "run")]) == 1
    assert "error: memory is short for this training: a smaller --tile" in capsys.readouterr().err


def test_does_not_overwrite_a_run(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main([*TINY, "--steps", "1", "--out", out]) == 0
    assert main([*TINY, "--steps", "1", "--out", out]) == 1
    assert "holds a run already: give another folder, or --resume" in capsys.readouterr().err
