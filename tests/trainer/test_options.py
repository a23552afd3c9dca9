"""What the settings do, each from the command line: budget, presets, precision, data of many kinds, fine-tuning."""

import copy
import csv

import numpy as np
import pytest
import torch
import yaml

from tests.training import STEPS_PER_EPOCH, TINY, assert_same, weights, write_cells, write_classes
from unet_fast.checkpoint import load_checkpoint, load_model
from unet_fast.config import TrainConfig
from unet_fast.loss import weighted_cross_entropy
from unet_fast.predict import main as predict_main
from unet_fast.samples import Batch
from unet_fast.train import main, parse
from unet_fast.trainer import Trainer
from unet_fast.trainer import step as step_module
from unet_fast.trainer import trainer as trainer_module
from unet_fast.trainer.losses import Losses
from unet_fast.trainer.optimization import MovingAverage, learning_rate


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return write_cells(tmp_path_factory.mktemp("cells"))


@pytest.fixture
def train(tmp_path, cells):
    """Run the command line on small images and return the folder of the run."""

    def run(*arguments, data=cells, out="run", status=0):
        assert main(["--data", str(data), *TINY, "--out", str(tmp_path / out), *arguments]) == status
        return tmp_path / out

    return run


def rows(run):
    return list(csv.DictReader((run / "metrics.csv").open()))


def test_the_paper_preset_is_the_recipe_of_section_3():
    config, text, _ = parse(["--out", "run"])  # the default
    assert (config.depth, config.batch_size, config.dropout) == (4, 1, 0.5)
    assert (config.optimizer, config.momentum, config.schedule, config.ema) == ("sgd", 0.99, "constant", 0)
    assert (config.border, config.sigma, config.augment.elastic) == (10, 5, 10)
    assert yaml.safe_load(text)["preset"] == "paper"


def test_what_is_given_wins_over_a_preset():
    modern = parse(["--preset", "modern", "--out", "run"])[0]
    assert (modern.optimizer, modern.schedule) == ("adam", "cosine")
    given = parse(["--preset", "modern", "--optimizer", "sgd", "--lr=0.5", "--out", "run"])[0]
    assert (given.optimizer, given.lr, given.schedule) == ("sgd", 0.5, "cosine")


def test_the_resolved_configuration_is_accepted_back(tmp_path):
    command = [
        "--preset",
        "modern",
        "--base=8",
        "--augment.elastic",
        "3",
        "--batch-size",
        "2",
        "--class_weight",
        "[1, 2]",
    ]
    config, text, _ = parse([*command, "--out", "run"])
    (tmp_path / "config.yaml").write_text(text)
    again, text_again, _ = parse(["--config", str(tmp_path / "config.yaml")])
    assert again == config and text_again == text
    assert config.class_weight == [1, 2] and config.batch_size == 2 and config.augment.elastic == 3
    (tmp_path / "short.yaml").write_text("preset: modern\nbase: 8\n")
    short = parse(["--config", str(tmp_path / "short.yaml"), "--out", "run"])[0]
    assert (short.base, short.optimizer) == (8, "adam")


def test_unknown_settings_in_a_file_are_named(tmp_path, capsys):
    (tmp_path / "wrong.yaml").write_text("bass: 3\n")
    assert main(["--config", str(tmp_path / "wrong.yaml")]) == 1
    assert "bass" in capsys.readouterr().err


def test_hours_end_a_run(train, monkeypatch):
    monkeypatch.setattr(Trainer, "_hours", lambda trainer: 0.1 * trainer._done())  # a clock of its own
    run = train("--hours", "0.55", "--preset", "modern")
    state = load_checkpoint(run / "checkpoint_last.pt")["state"]
    assert (state["epoch"], state["step"], state["hours"]) == (1, 2, pytest.approx(0.6))
    assert [float(row["learning_rate"]) for row in rows(run)[1:]] == pytest.approx(
        [1e-3 * (1 + np.cos(np.pi * done / 0.55)) for done in (0.3, 0.5)], rel=1e-4
    )
    before = weights(run)
    assert main(["--resume", str(run)]) == 0  # hours count from the start: none are left
    assert_same(weights(run), before)


def test_patience_ends_a_run(train):
    run = train("--epochs", "30", "--patience", "2", "--lr", "1e-12")  # nothing gets better than before training
    state = load_checkpoint(run / "checkpoint_last.pt")["state"]
    assert state["validations_since_best"] == 2 and state["epoch"] == 2
    assert load_checkpoint(run / "checkpoint_best.pt")["state"]["epoch"] == 0


def test_validate_every_and_the_last_epoch(train):
    run = train("--epochs", "3", "--validate_every", "2")
    assert [bool(row["seg"]) for row in rows(run)] == [True, False, True, True]


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_precisions(train, precision, backend):
    run = train("--steps", "4", "--precision", precision, "--backend", backend)
    assert all(value.dtype == torch.float32 for value in weights(run).values())
    exact = train("--steps", "4", out="exact")
    loss, wanted = (float(rows(r)[-1]["loss"]) for r in (run, exact))
    assert loss == pytest.approx(wanted, rel={"float32": 1e-4, "bf16": 5e-2, "fp16": 2e-2}[precision])


def test_the_loss_is_computed_in_float32(train, monkeypatch):
    seen = []

    def spy(scores, *arguments, **options):
        seen.append(scores.dtype)
        return weighted_cross_entropy(scores, *arguments, **options)

    monkeypatch.setattr(step_module, "weighted_cross_entropy", spy)
    train("--steps", "1", "--precision", "bf16")
    assert seen == [torch.float32]


@pytest.mark.parametrize("behind", [0, 1])
@pytest.mark.parametrize("options", [[], ["--preset", "modern"], ["--precision", "fp16", "--backend", "torch"]])
def test_a_non_finite_loss_names_the_batch_and_keeps_the_checkpoint(train, monkeypatch, capsys, options, behind):
    take, taken = step_module.Step.take, []

    def spoilt(step, batches, seeds, rate, number):
        if number == 6:  # in the second epoch
            batches = [Batch(batches[0].image * float("inf"), *batches[0][1:])]
        before = copy.deepcopy(step.net.state_dict()), copy.deepcopy(step.optimizer.state_dict()["state"])
        loss = take(step, batches, seeds, rate, number)
        if number == 6:
            after = step.optimizer.state_dict()["state"]
            assert_same(before[0], step.net.state_dict())
            for index, moments in before[1].items():
                assert_same(moments, after[index])
        taken.append(number)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(step_module.Step, "take", spoilt)
        if behind:  # as on CUDA, where a loss is looked at when the next step has been taken
            patch.setattr(trainer_module, "Losses", lambda behind: Losses(1))
        run = train("--epochs", "2", *options, status=1)
    assert taken == list(range(7 + behind))
    error = capsys.readouterr().err
    assert (
        "the loss or its gradient is nan at epoch 1, step 2, tiles of " in error
        and "this step changed no weights" in error
    )
    assert any(f"tiles of {i};" in error for i in range(5))
    state = load_checkpoint(run / "checkpoint_last.pt")
    assert state["state"]["epoch"] == 1 and all(value.isfinite().all() for value in state["net"].values())
    assert main(["--resume", str(run)]) == 0
    assert_same(weights(run), weights(train("--epochs", "2", *options, out="whole")))


def test_a_gradient_that_is_not_finite_stops_the_run_too(train, monkeypatch, capsys):
    class Spoilt(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scores):
            return scores.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("nan")

    def spoilt(scores, *arguments, **options):
        return weighted_cross_entropy(Spoilt.apply(scores), *arguments, **options)

    monkeypatch.setattr(step_module, "weighted_cross_entropy", spoilt)
    run = train("--steps", "2", "--checkpoint_minutes", "1e-9", status=1)
    assert "the loss or its gradient is nan at epoch 0, step 0" in capsys.readouterr().err
    state = load_checkpoint(run / "checkpoint_last.pt")
    assert state["state"]["step"] == 0 and all(value.isfinite().all() for value in state["net"].values())


def test_parts_of_a_step_change_rounding_alone(train):
    whole = train("--steps", "3", "--batch_size", "4", out="whole")
    recomputed = ["--accumulate", "4", "--gradient_checkpointing", "true"]
    parts = train("--steps", "3", "--batch_size", "4", *recomputed, out="parts")
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(parts)[name], rtol=1e-4, atol=1e-6)


def test_folds_hold_back_every_image_once(train):
    held = []
    for fold in ("1/3", "2/3", "3/3"):
        run = train("--fold", fold, "--steps", "1", out=fold.replace("/", "of"))
        held.append({str(i) for i in range(5)} - set(load_checkpoint(run / "checkpoint_last.pt")["state"]["images"]))
    assert sorted(image for images in held for image in images) == ["0", "1", "2", "3", "4"]


def test_classes_of_many_sizes_and_dtypes_with_an_ignored_label(train, tmp_path, capsys):
    data = write_classes(tmp_path / "data", dtypes=(np.uint8, np.uint16, np.float32), ignore=9, channels=3)
    run = train("--epochs", "6", "--base", "8", "--ignore", "9", "--precision", "bf16", data=data)
    said = capsys.readouterr().out
    assert "images are of float32, uint16, uint8" in said and "classes (0, 1, 2)" in said
    model = load_model(run)
    assert (model.net.channels, model.net.classes, model.labels) == (3, 3, "classes")
    assert list(rows(run)[0])[3:5] == ["iou", "pixel_error"]
    assert max(float(row["iou"]) for row in rows(run)) > float(rows(run)[0]["iou"])
    results = str(tmp_path / "results")
    assert predict_main(["-i", str(data / "images"), "-o", results, "-m", str(run)]) == 0


def test_a_mask_is_scored_as_membranes_are(train, tmp_path):
    data = write_classes(tmp_path / "data")
    run = train("--steps", "2", "--label_kind", "mask", "--score", "rand_error", data=data)
    assert 0 <= float(rows(run)[0]["rand_error"]) <= 1
    assert load_checkpoint(run / "checkpoint_last.pt")["state"]["best"] <= 0  # an error: less is better


def test_without_held_back_images_the_last_network_is_kept(train):
    run = train("--validation", "0", "--epochs", "2")
    assert_same(load_model(str(run)).net.state_dict(), weights(run))
    assert (run / "preview" / "epoch_000.png").stat().st_size > 0 and "seg" not in rows(run)[0]


def test_fine_tuning_says_what_is_kept_and_what_is_new(train, tmp_path, capsys):
    run = train("--epochs", "1")
    same = train("--init", str(run), "--steps", "1", "--lr", "1e-12", out="same")
    assert "init: 26 of 26 tensors are those of" in capsys.readouterr().out
    old = load_model(run).net.state_dict()
    for name, value in weights(same).items():
        torch.testing.assert_close(value, old[name])
    data = write_classes(tmp_path / "data", channels=3)
    other = train("--init", str(run), "--steps", "1", "--lr", "1e-12", data=data, out="other")
    said = capsys.readouterr().out
    new = {"contracting.0.conv1.weight", "head.weight", "head.bias"}
    assert f"init: 23 of 26 tensors are those of {run}; new, for 1 -> 3 channels and 2 -> 3 classes: " in said
    assert all(name in said for name in new)
    for name, value in weights(other).items():
        if name not in new:
            torch.testing.assert_close(value, old[name])
    train("--init", str(run), "--base", "8", out="wide", status=1)
    assert f"init: {run} has base 4, this run 8: give --base 4" in capsys.readouterr().err


def test_what_a_run_says_of_itself(train, capsys):
    run = train("--epochs", "2", "--tensorboard", "true", "--deterministic", "true")
    torch.use_deterministic_algorithms(False)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 3 and all(word in lines[1] for word in ("tiles/s", "% waiting for data", "done", "to go"))
    last = rows(run)[-1]
    assert float(last["tiles_per_second"]) > 0 and 0 < float(last["waiting_for_data"]) < 1
    assert [path.name for path in sorted((run / "preview").iterdir())] == [f"epoch_00{i}.png" for i in range(3)]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH]
    assert events.Scalars("loss")[-1].value == pytest.approx(float(last["loss"]), rel=1e-5)


def test_learning_rate():
    config = TrainConfig(lr=1.0, schedule="cosine", warmup=4)
    assert [learning_rate(config, step, 0) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert learning_rate(config, 9, 0.5) == pytest.approx(0.5) and learning_rate(config, 9, 1) == pytest.approx(0)
    assert learning_rate(TrainConfig(lr=1.0, schedule="constant"), 9, 0.5) == 1


def test_moving_average():
    net = torch.nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(0)
    average = MovingAverage(net, 0.5)
    net.weight.data.fill_(1)
    average.update(net, 0)  # at first the average forgets faster: 0.1 is kept
    assert float(average.net.weight) == pytest.approx(0.9)
    net.weight.data.fill_(0)
    average.update(net, 100)
    assert float(average.net.weight) == pytest.approx(0.45)


def test_the_average_is_what_is_saved(train):
    run = train("--epochs", "1", "--validation", "0", "--ema", "0.99")
    assert_same(load_model(run).net.state_dict(), load_checkpoint(run / "checkpoint_last.pt")["average"])
    assert not torch.equal(load_model(run).net.state_dict()["head.weight"], weights(run)["head.weight"])


def test_trainer_takes_images_in_memory(tmp_path, cells):
    from unet_fast.data import synthetic_cells

    trainer = Trainer(TrainConfig(base=4, depth=2, tile=116, steps=1), synthetic_cells(3, 64), tmp_path)
    trainer.fit()
    assert len(trainer.state.rows) == 2
