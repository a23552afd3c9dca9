"""A step as a graph moves the weights as a step that is computed operator by operator, to the bit."""

import pytest
import torch

from tests import training
from tests.recording import OperatorRecorder
from tests.training import TINY, assert_same, weights, write_cells
from unet_fast.checkpoint import load_checkpoint
from unet_fast.prediction import network as network_module
from unet_fast.train import main
from unet_fast.trainer import step as step_module
from unet_fast.trainer.losses import Losses

FLAVOURS = training.FLAVOURS | {
    "everything": [*training.FLAVOURS["everything"], "--batch_size", "4"],
    "recomputed": ["--gradient_checkpointing", "true"],
    "torch": ["--backend", "torch"],
    "bf16": ["--precision", "bf16", "--batch_size", "2", "--accumulate", "2", "--backend", "torch"],
    "baseline": ["--model", "sliding_window", "--window", "33", "--tile", "110"],
}
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return write_cells(tmp_path_factory.mktemp("cells"))


def _state(run):
    content = load_checkpoint(run / "checkpoint_last.pt")
    moments = {
        f"{i} {name}": value for i, state in content["optimizer"]["state"].items() for name, value in state.items()
    }
    return content["net"] | moments | (content["average"] or {}), content["scaler"], content["state"]["loss_sum"]


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_recorded_step_is_the_step(tmp_path, monkeypatch, cells, flavour):
    command = ["--data", str(cells), *TINY, *FLAVOURS[flavour], "--steps", "7", "--validate_every", "9"]
    assert main([*command, "--out", str(tmp_path / "direct")]) == 0
    recorders = []

    def recorder_for(device):
        recorders.append(OperatorRecorder())
        return recorders[-1]

    monkeypatch.setattr(step_module, "recorder_for", recorder_for)
    assert main([*command, "--out", str(tmp_path / "recorded")]) == 0
    (recorder,) = recorders
    assert (recorder.runs, recorder.records, recorder.replays) == (2, 1, 5)
    direct, recorded = _state(tmp_path / "direct"), _state(tmp_path / "recorded")
    assert_same(direct[0], recorded[0])
    assert direct[1:] == recorded[1:]


def test_a_recorded_network_predicts_what_the_network_does(tmp_path, monkeypatch, cells):
    command = ["--data", str(cells), *TINY, "--steps", "2"]
    assert main([*command, "--out", str(tmp_path / "direct")]) == 0
    monkeypatch.setattr(network_module, "recorder_for", lambda device: OperatorRecorder())
    assert main([*command, "--out", str(tmp_path / "recorded")]) == 0
    scores = [load_checkpoint(tmp_path / run / "checkpoint_last.pt")["state"]["rows"] for run in ("direct", "recorded")]
    assert [row.get("seg") for row in scores[0]] == [row.get("seg") for row in scores[1]]


def test_losses_are_looked_at_in_order_and_behind():
    losses, seen = Losses(behind=2), []
    for step in range(5):
        losses.put(3, step, torch.tensor(float(step)))
        seen.append([(loss.epoch, loss.step, loss.value) for loss in losses.arrived()])
    assert seen == [[], [], [(3, 0, 0.0)], [(3, 1, 1.0)], [(3, 2, 2.0)]]
    assert [loss.step for loss in losses.arrived(all_of_them=True)] == [3, 4]
    assert list(losses.arrived(all_of_them=True)) == []


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_on_cuda_a_step_is_a_graph(tmp_path, monkeypatch, cells, flavour, device, recwarn):
    command = ["--data", str(cells), *TINY, *FLAVOURS[flavour], "--steps", "7", "--validate_every", "9"]
    command += ["--device", device]
    assert main([*command, "--out", str(tmp_path / "graph")]) == 0
    assert not [str(warning.message) for warning in recwarn if "CUDA graph" in str(warning.message)]
    monkeypatch.setattr(step_module, "recorder_for", lambda device: None)
    assert main([*command, "--out", str(tmp_path / "direct")]) == 0
    graph, direct = weights(tmp_path / "graph"), weights(tmp_path / "direct")
    if "torch" in FLAVOURS[flavour] or flavour == "baseline":  # cuDNN's sums may come in another order
        for name, value in graph.items():
            torch.testing.assert_close(value, direct[name], rtol=0, atol=5e-3, msg=name)
    else:
        assert_same(graph, direct)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize(("precision", "bound"), [("float32", 1e-3), ("tf32", 1e-2), ("bf16", 5e-2), ("fp16", 2e-2)])
def test_on_cuda_every_precision_follows_float32(tmp_path, cells, precision, bound, device):
    command = ["--data", str(cells), *TINY, "--base", "8", "--dropout", "0", "--steps", "4", "--validate_every", "9"]
    assert main([*command, "--device", "cpu", "--out", str(tmp_path / "exact")]) == 0
    assert main([*command, "--device", device, "--precision", precision, "--out", str(tmp_path / "run")]) == 0
    loss, wanted = (_state(tmp_path / run)[2] for run in ("run", "exact"))
    assert loss == pytest.approx(wanted, rel=bound)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_cuda_the_same_seed_gives_the_same_bits(tmp_path, cells, precision, device):
    command = ["--data", str(cells), *TINY, "--base", "8", "--steps", "7", "--deterministic", "true"]
    for run in ("a", "b"):
        assert main([*command, "--device", device, "--precision", precision, "--out", str(tmp_path / run)]) == 0
    torch.use_deterministic_algorithms(False)
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("device", [CUDA])
def test_on_cuda_a_stopped_run_goes_on_as_if_it_never_had(tmp_path, cells, device):
    command = ["--data", str(cells), *TINY, "--steps", "8", "--schedule", "constant", "--device", device]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    assert main([*command, "--steps", "5", "--out", str(tmp_path / "parts")]) == 0
    assert main(["--resume", str(tmp_path / "parts"), "--steps", "8"]) == 0
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
