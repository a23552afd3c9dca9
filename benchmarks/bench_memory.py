"""Peak resident memory of the network on the CPU: one tile forward, or one training step, in float32.

Each rival runs in a fresh process, `python -m benchmarks.bench_memory ACTION BACKEND LAYOUT BASE TILE THREADS`, which
prints by how much its peak exceeds what it held with the network built.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.conftest import OURS
from benchmarks.networks import CHANNELS_LAST, NCHW, in_layout, network, training_batch, training_step

STATUS = Path("/proc/self/status")
LAYOUTS = {"NCHW": NCHW, "channels_last": CHANNELS_LAST}
RIVALS = {OURS: ("native", "NCHW"), "eager NCHW": ("torch", "NCHW"), "eager channels_last": ("torch", "channels_last")}


def kilobytes(name: str) -> int:
    """Read a line of the process's status: VmRSS is what is resident, VmHWM the most that ever was.

    getrusage's ru_maxrss would not do: a new process inherits that of the one that started it.
    """
    return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))


def measure_here(action: str, backend: str, layout: str, base: int, tile: int) -> float:
    """Return the megabytes by which the peak of two calls exceeds what the process holds now."""
    net, (image, classes, weights) = network(base, backend, LAYOUTS[layout]), training_batch(tile)
    image = in_layout(image, LAYOUTS[layout])
    before = kilobytes("VmRSS")
    if action == "forward":
        net.eval()
        with torch.inference_mode():
            for _ in range(2):
                net(image)
    else:
        step = training_step(net, (image, classes, weights))
        for _ in range(2):  # the first makes the optimiser's momentum, which the second finds there
            step()
    return (kilobytes("VmHWM") - before) / 1e3


def measure(action: str, backend: str, layout: str, base: int, tile: int) -> float:
    """Return what `measure_here` finds in a process of its own."""
    arguments = [action, backend, layout, *map(str, (base, tile, torch.get_num_threads()))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_memory", *arguments],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


@pytest.mark.skipif(not STATUS.exists(), reason="no /proc/self/status")
@pytest.mark.parametrize("action", ["forward", "train_step"])
def test_memory(benchmark, quick, action):
    base, tile = (4, 188) if quick else (64, 572)
    others = {name: measure(action, *rival, base, tile) for name, rival in RIVALS.items() if name != OURS}
    benchmark.group = "memory"
    ours = benchmark.pedantic(measure, (action, *RIVALS[OURS], base, tile))
    benchmark.extra_info["megabytes"] = {OURS: ours} | others
    output = 4e-6 * 2 * (tile - 184) ** 2  # the scores at least have been there
    assert min(ours, *others.values()) > output


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[6]))
    print(measure_here(*sys.argv[1:4], *map(int, sys.argv[4:6])))
