"""The size of tiles: the largest that fits, and that what is said to fit does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unet_fast.data import Normalization
from unet_fast.geometry import TilePlan, is_legal, legal_side
from unet_fast.model import UNet
from unet_fast.ops._native import _C
from unet_fast.prediction import memory
from unet_fast.prediction.memory import choose_tile, free_memory, parse_memory, tile_bytes
from unet_fast.prediction.network import TileNetwork, evaluating
from unet_fast.prediction.pipeline import Task, TileReader, predict_tiles
from unet_fast.prediction.source import Source

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1024", 1024), ("2K", 2048), ("800M", 800 << 20), ("6G", 6 << 30), ("1.5 GiB", 3 << 29), ("2gb", 2 << 30)],
)
def test_amounts(text, amount):
    assert parse_memory(text) == amount


@pytest.mark.parametrize("text", ["", "much", "-1G", "0M", "3X"])
def test_no_amounts(text):
    with pytest.raises(ValueError, match="memory: wanted an amount such as 800M or 6G, got"):
        parse_memory(text)


@pytest.mark.parametrize("megabytes", [100, 400, 1000, 5000])
def test_the_largest_that_fits(megabytes):
    net, budget = UNet(base=16), megabytes << 20
    tile = choose_tile(net, (30000, 30000), budget, CPU)
    assert is_legal(tile[0]) and tile[0] == tile[1] <= memory.LARGEST_TILE
    assert tile_bytes(net, tile) <= budget
    larger = tile[0] + 16
    assert larger > memory.LARGEST_TILE or tile_bytes(net, (larger, larger)) > budget


def test_no_larger_than_the_image():
    assert choose_tile(UNet(base=4), (50, 3000), 10 << 30, CPU) == (legal_side(50), memory.LARGEST_TILE)


def test_too_little_memory():
    with pytest.raises(ValueError, match=r"memory: wanted at least \d+ MB for a tile of 204x204 .*, got 1 MB"):
        choose_tile(UNet(base=16), (3000, 3000), 1 << 20, CPU)


def test_what_is_free(tmp_path):
    assert free_memory(CPU) > 0
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:      3 kB\n")
    assert memory._available(tmp_path / "meminfo") == 3072
    assert memory._available(tmp_path / "none") is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._left_in_group(tmp_path) is None
    (tmp_path / "memory.current").write_text("300\n")
    assert memory._left_in_group(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_group(tmp_path) is None


PEAK = """
import sys, torch
from unet_fast.model import UNet
from unet_fast.ops._native import _C
torch.set_num_threads(2)
base, side = map(int, sys.argv[1:])
status = lambda name: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
net = UNet(base=base).eval()
with torch.inference_mode():
    net(torch.zeros(1, 1, 188, 188), softmax=True)
    before = status("VmRSS")
    with net.packed_weights():
        for _ in range(2):
            net(torch.zeros(1, 1, side, side), softmax=True)
print((status("VmHWM") - before) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc/self/status")
@pytest.mark.parametrize(("base", "side"), [(4, 572), (4, 1500), (16, 572), (16, 1020), (32, 572)])
def test_a_tile_needs_no_more_than_is_said(base, side):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(base), str(side)], stdout=subprocess.PIPE, text=True, check=True
    )
    needed, said = int(done.stdout), tile_bytes(UNet(base=base), (side, side))
    assert said / 6 < needed <= said


def test_tiles_are_computed_in_the_memory_of_those_before():
    """A map of the first level has 10,000 pages here, more than malloc would keep."""
    resource = pytest.importorskip("resource", reason="counts page faults on POSIX")
    net, tiles, faults = UNet(base=16, depth=1).eval(), 10, []
    side = legal_side(800, net.sides)
    image = np.random.default_rng(0).random((1, 800, tiles * 800), np.float32)
    plan = TilePlan(image.shape[1:], side, net.sides)
    assert len(plan.output_origins) == tiles
    reader = TileReader(Source(image, "CYX", "image"), plan, Normalization("none"), CPU)
    tasks = [Task(0, index) for index in range(tiles)]
    with evaluating(net, many=True):
        for _ in predict_tiles(reader, TileNetwork(net), tasks, lambda found: found.probabilities.argmax(0)):
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    map_pages = net.base * side**2 * 4 // resource.getpagesize()
    assert faults[-1] - faults[-4] < map_pages / 2, np.diff(faults)


@pytest.mark.parametrize("instruction_set", _C.supported_instruction_sets())
@pytest.mark.parametrize("base", [16, 32])
def test_packed_weights_are_counted(base, instruction_set):
    net, before = UNet(base=base), _C.instruction_set()
    _C.set_instruction_set(instruction_set)
    try:
        with torch.no_grad(), net.packed_weights():
            packed = sum(weight.numel() * 4 for weight in net._packed.values() if weight is not None)
        # Planes of an odd number of cache lines, and whole blocks of outputs, take a little more.
        assert 0.98 * packed < memory._packed_bytes(net) < 1.5 * packed
    finally:
        _C.set_instruction_set(before)
