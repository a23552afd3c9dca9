"""Two processes on the CPU train what one would; a killed one is started again and the run ends the same."""

import csv
import functools
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.training import TINY, assert_same, weights, write_cells
from unet_fast.train import main

BATCH = ["--batch_size", "4", "--epochs", "3", "--threads", "1"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return write_cells(tmp_path_factory.mktemp("cells"), size=120)


@pytest.fixture
def torchrun():
    """Start two processes by torchrun; whatever still runs when the test ends is stopped."""
    started = []
    yield functools.partial(start, started)
    for process in started:
        process.terminate()
        process.wait(timeout=60)


def start(started, *arguments, restarts=0):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--max-restarts", str(restarts)]
    process = subprocess.Popen(
        [*command, "-m", "unet_fast.train", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    started.append(process)
    return process


def losses(run):
    return [float(row["loss"]) for row in csv.DictReader((run / "metrics.csv").open()) if row["loss"]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, cells):
    out = tmp_path_factory.mktemp("alone") / "run"
    threads = torch.get_num_threads()
    assert main(["--data", str(cells), *TINY, *BATCH, "--out", str(out)]) == 0
    torch.set_num_threads(threads)
    return out


def test_two_processes_train_what_one_does(tmp_path, cells, alone, torchrun):
    out = tmp_path / "run"
    process = torchrun("--data", str(cells), *TINY, *BATCH, "--accumulate", "2", "--out", str(out))
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "2 processes" in said and said.count("epoch   1") == 1 and said.count("done: everything is in") == 1
    assert losses(out) == pytest.approx(losses(alone), rel=1e-4)
    ours, theirs = weights(out), weights(alone)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=2e-3)  # Adam's sign of a gradient near 0


def test_a_killed_process_is_started_again(tmp_path, cells, torchrun):
    command = ["--data", str(cells), *TINY, *BATCH, "--checkpoint_minutes", "1e-9"]
    out, whole = tmp_path / "run", tmp_path / "whole"
    process = torchrun(*command, "--resume", "auto", "--out", str(out), restarts=3)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch   1"):
            victim = _process_of_rank(process.pid, 1)
            os.kill(victim, signal.SIGKILL)
            break
    said = "".join(lines) + process.communicate(timeout=200)[0]
    assert process.returncode == 0, said
    assert re.search(r"resume: .*checkpoint_last.pt, epoch [12]", said) and "done: everything is in" in said
    process = torchrun(*command, "--out", str(whole))
    assert process.wait(timeout=300) == 0
    assert_same(weights(out), weights(whole))


def _process_of_rank(parent, rank):
    """Find the worker of this rank among the children of torchrun."""
    for _ in range(100):
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            for child in file.read().split():
                with open(f"/proc/{child}/environ", "rb") as environment:
                    if f"RANK={rank}".encode() in environment.read().split(b"\0"):
                        return int(child)
        time.sleep(0.05)
    raise AssertionError("no such process")


def test_tiles_that_cannot_be_shared_are_refused(tmp_path, cells, torchrun):
    process = torchrun("--data", str(cells), *TINY, "--batch_size", "3", "--out", str(tmp_path / "run"))
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "error: batch_size: wanted a multiple of 2 (2 processes, 1 parts), got 3" in said
    assert not (tmp_path / "run").exists()


def test_the_folder_must_be_named(cells, torchrun):
    process = torchrun("--data", str(cells), *TINY)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and "error: out: with torchrun, wanted a folder" in said
