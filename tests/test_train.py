"""Training: it learns, it repeats, it goes on as if never stopped, it says what is wrong."""

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from unet_fast.checkpoint import load_checkpoint, load_model
from unet_fast.config import TrainConfig
from unet_fast.data import synthetic_cells
from unet_fast.train import main
from unet_fast.trainer import Trainer

TINY = ["--base", "4", "--tile", "252", "--validation", "0.1"]


def weights(folder):
    return load_checkpoint(folder / "checkpoint_last.pt")["net"]


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def bright_cells(count):
    """Cells that are brighter than their surroundings, under noise: learned within seconds."""
    drawn = synthetic_cells(count, 192, seed=1)
    noise = np.random.default_rng(0)
    images = [(90 + 80 * (labels > 0) + noise.normal(0, 40, labels.shape))[None] for labels in drawn.instances]
    return replace(drawn, images=[image.clip(0, 255).astype(np.uint8) for image in images])


def test_learns(tmp_path):
    config = TrainConfig(base=8, tile=252, steps=120, border=0.0, dropout=0.0, validation=0.15)
    trainer = Trainer(config, bright_cells(7), tmp_path)
    trainer.fit()
    losses = [row["loss"] for row in trainer.rows if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert trainer.rows[-1]["iou"] > max(0.6, trainer.rows[0]["iou"] + 0.2)


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


@pytest.mark.parametrize("preset", ["paper", "modern"])
def test_resume_equals_never_having_stopped(tmp_path, monkeypatch, preset):
    command = [*TINY, "--preset", preset, "--steps", "4"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    take_step = Trainer._train_step

    def stop_after_two(trainer, total):
        loss = take_step(trainer, total)
        trainer.stopping = trainer.step == 2
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", stop_after_two)
        assert main([*command, "--out", str(tmp_path / "parts")]) == 0
    assert load_checkpoint(tmp_path / "parts" / "checkpoint_last.pt")["step"] == 2
    assert main(["--resume", str(tmp_path / "parts")]) == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert load_checkpoint(tmp_path / "parts" / "checkpoint_last.pt")["step"] == 4


def test_a_signal_ends_with_a_checkpoint(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-u", "-m", "unet_fast.train", *TINY, "--epochs", "1000", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch   0"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "stopping after this step" in said
    state = load_checkpoint(out / "checkpoint_last.pt")
    assert state["step"] + state["epoch"] > 0
    done = state["epoch"] * 1000 + state["step"]
    assert main(["--resume", str(out), "--epochs", "1000", "--hours", "0.0001"]) == 0
    state = load_checkpoint(out / "checkpoint_last.pt")
    assert state["epoch"] * 1000 + state["step"] >= done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tile", "512"], "tile: wanted a legal input side"),
        (["--lr", "-1"], "lr: wanted a positive number, got -1"),
        (["--fold", "9"], "fold: wanted 0 to 4, got 9"),
        (["--data", "nowhere"], "nowhere"),
        (["--resume", "nowhere"], "resume: wanted the folder of a run with config.yaml, got nowhere"),
    ],
)
def test_errors(tmp_path, arguments, message, capsys):
    out = [] if "--resume" in arguments else ["--out", str(tmp_path / "run")]
    assert main([*arguments, *out]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "run").exists()


def test_does_not_overwrite_a_run(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main([*TINY, "--steps", "1", "--out", out]) == 0
    assert main([*TINY, "--steps", "1", "--out", out]) == 1
    assert "holds a run already: give another folder, or --resume" in capsys.readouterr().err


def test_a_non_finite_loss_names_the_step_and_keeps_the_checkpoint(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*TINY, "--steps", "1", "--out", str(out)]) == 0
    before = weights(out)
    state = torch.load(out / "checkpoint_last.pt", weights_only=True)
    state["net"]["head.bias"] = torch.full((2,), float("nan"))
    torch.save(state, out / "checkpoint_last.pt")
    assert main(["--resume", str(out), "--steps", "3"]) == 1
    assert "the loss is nan at epoch 0, step 1" in capsys.readouterr().err
    assert torch.equal(weights(out)["head.weight"], before["head.weight"])


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_foreign_checkpoints_are_refused(tmp_path, content):
    path = tmp_path / "checkpoint_last.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        load_checkpoint(path)
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="is not a checkpoint of this version"):
        load_checkpoint(path)
