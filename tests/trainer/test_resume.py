"""A run goes on as if it had never stopped, however it was stopped; a file that is none of its own is refused."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from tests.training import FLAVOURS, STEPS_PER_EPOCH, TINY, assert_same, weights, write_cells
from unet_fast.checkpoint import load_checkpoint
from unet_fast.train import main
from unet_fast.trainer import Trainer


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return write_cells(tmp_path_factory.mktemp("cells"))


def stop_after(monkeypatch, steps):
    take_step = Trainer._train_step

    def step(trainer):
        loss = take_step(trainer)
        trainer.stopping = trainer._done() == steps
        return loss

    monkeypatch.setattr(Trainer, "_train_step", step)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_resume_equals_never_having_stopped(tmp_path, monkeypatch, cells, flavour):
    command = ["--data", str(cells), *TINY, *FLAVOURS[flavour], "--steps", "6"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    for steps in (2, 4):  # twice stopped, once within the first epoch and once beyond it or not
        with monkeypatch.context() as patch:
            stop_after(patch, steps)
            go_on = ["--resume", "auto", "--out", str(tmp_path / "parts")]
            assert main([*command, *go_on]) == 0
    assert load_checkpoint(tmp_path / "parts" / "checkpoint_last.pt")["state"]["step"] != 6
    assert main(["--resume", str(tmp_path / "parts")]) == 0
    whole, parts = (load_checkpoint(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "parts"))
    assert_same(whole["net"], parts["net"])
    if "--ema" in FLAVOURS[flavour]:
        assert_same(whole["average"], parts["average"])
    assert whole["scaler"] == parts["scaler"]
    for a, b in zip(whole["optimizer"]["state"].values(), parts["optimizer"]["state"].values(), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor))
    for rows in zip(whole["state"]["rows"], parts["state"]["rows"], strict=True):
        assert rows[0]["seg"] == rows[1]["seg"] and rows[0].get("loss") == rows[1].get("loss")


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_ends_as_one_left_alone(tmp_path, cells, kind):
    command = ["--data", str(cells), *TINY, "--epochs", "6", "--schedule", "constant"]
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "unet_fast.train", *command, "--out", str(out)], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("epoch   1 "):
            break
    process.send_signal(kind)
    said, _ = process.communicate(timeout=120)
    if kind == signal.SIGTERM:
        assert process.returncode == 0 and "stopping after this step" in said and f"--resume {out}" in said
    else:
        assert process.returncode == -signal.SIGKILL
    state = load_checkpoint(out / "checkpoint_last.pt")["state"]
    assert state["epoch"] * STEPS_PER_EPOCH + state["step"] < 6 * STEPS_PER_EPOCH  # it was in fact interrupted
    assert main(["--resume", str(out)]) == 0
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    assert_same(weights(out), weights(tmp_path / "whole"))
    assert_same(weights(out, "checkpoint_best.pt"), weights(tmp_path / "whole", "checkpoint_best.pt"))
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_checkpoints_within_an_epoch(tmp_path, monkeypatch, cells):
    saved = []
    save = Trainer._save
    monkeypatch.setattr(Trainer, "_save", lambda trainer, name: (saved.append(trainer._done()), save(trainer, name)))
    out = str(tmp_path / "run")
    assert main(["--data", str(cells), *TINY, "--steps", "3", "--checkpoint_minutes", "1e-6", "--out", out]) == 0
    assert {0, 1, 2, 3} <= set(saved)


def test_an_older_checkpoint_of_the_run_can_be_named(tmp_path, cells):
    out = tmp_path / "run"
    assert main(["--data", str(cells), *TINY, "--epochs", "1", "--out", str(out)]) == 0
    os.replace(out / "checkpoint_best.pt", out / "kept.pt")
    assert main(["--resume", str(out / "kept.pt"), "--epochs", "2"]) == 0
    assert load_checkpoint(out / "checkpoint_last.pt")["state"]["epoch"] == 2


def test_what_changed_is_said(tmp_path, cells, capsys):
    out = str(tmp_path / "run")
    assert main(["--data", str(cells), *TINY, "--steps", "1", "--out", out]) == 0
    assert main(["--resume", out, "--steps", "2", "--lr", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "resume: changed: steps: 1 -> 2" in said and "resume: changed: lr: 0.003 -> 0.01" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "8"], "base is 4 there, 8 here; a new run can start from its weights: --init"),
        (["--optimizer", "adam"], "optimizer is sgd there, adam here"),
        (["--fold", "2/2"], "it was trained on other images"),
    ],
)
def test_what_cannot_change_is_refused(tmp_path, cells, capsys, arguments, message):
    out = tmp_path / "run"
    assert main(["--data", str(cells), *TINY, "--steps", "1", "--out", str(out)]) == 0
    before = (out / "checkpoint_last.pt").read_bytes(), (out / "config.yaml").read_text()
    assert main(["--resume", str(out), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: resume: cannot go on from") and message in error
    assert before == ((out / "checkpoint_last.pt").read_bytes(), (out / "config.yaml").read_text())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a checkpoint"),
        (b"not a checkpoint", "cannot be read as a checkpoint"),
        ({"weights": torch.zeros(1)}, "is not a checkpoint of this version: wanted 'unet_fast checkpoint 2', got None"),
        ({"format": "unet_fast checkpoint 1"}, "is not a checkpoint of this version"),
        ({"format": "unet_fast checkpoint 2"}, "cannot go on from"),
    ],
)
def test_foreign_and_old_files_are_refused(tmp_path, cells, capsys, content, message):
    out = tmp_path / "run"
    assert main(["--data", str(cells), *TINY, "--steps", "1", "--out", str(out)]) == 0
    last = out / "checkpoint_last.pt"
    last.write_bytes(content) if isinstance(content, bytes) else torch.save(content, last)
    assert main(["--resume", str(out)]) == 1
    assert message in capsys.readouterr().err


def test_loading_executes_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    torch.save({"format": "unet_fast checkpoint 2", "net": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()
