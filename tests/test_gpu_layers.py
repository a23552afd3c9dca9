"""The GPU's benchmarks run, at small sides, on any machine: not there for the first time."""

import json
import subprocess
import sys

from tests.native_build import ROOT


def run_quickly(name, out, *options):
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--out", str(out), *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_layers(tmp_path):
    run_quickly("gpu_layers", tmp_path, "--skip-networks")
    rows = json.loads((tmp_path / "layers.json").read_text())["layers"]
    assert {row["direction"] for row in rows} == {"forward", "data", "weight"}
    assert all(row["passes"] and 0 < row["error"] < 4e-3 for row in rows)
    assert len((tmp_path / "layers.md").read_text().splitlines()) == 2 + len(rows)


def test_operators(tmp_path):
    run_quickly("gpu_operators", tmp_path)
    rows = json.loads((tmp_path / "operators.json").read_text())["operators"]
    assert {"first layer", "head", "head with softmax", "weight map", "loss", "mirrored tiles"} <= {
        row["operator"] for row in rows
    }
    assert all(row["passes"] and row["bytes"] > 0 and row["seconds"] > 0 for row in rows)
    assert len((tmp_path / "operators.md").read_text().splitlines()) == 2 + len(rows)


def test_training(tmp_path):
    run_quickly("gpu_training", tmp_path, "--batch", "1", "2")
    rows = json.loads((tmp_path / "training.json").read_text())["training"]
    assert [row["batch"] for row in rows] == [1, 1, 2, 2]
    assert all(row["tiles_per_second"] > 0 and 0 < row["busy"] <= 1 for row in rows)
    assert len((tmp_path / "training.md").read_text().splitlines()) == 2 + len(rows)
