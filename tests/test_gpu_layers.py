"""The GPU's benchmark of the convolutions runs, at small sides, on any machine: not there for the first time."""

import json
import subprocess
import sys

from tests.native_build import ROOT


def test_runs_and_checks(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu_layers", "--quick", "--skip-networks", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads((tmp_path / "layers.json").read_text())["layers"]
    assert {row["direction"] for row in rows} == {"forward", "data", "weight"}
    assert all(row["passes"] and 0 < row["error"] < 4e-3 for row in rows)
    assert len((tmp_path / "layers.md").read_text().splitlines()) == 2 + len(rows)
