"""`compare`: time ours and its rivals in turn, round by round, in one process.

Run `pytest benchmarks/ --benchmark-only`. Every benchmark first asserts that all rivals agree, then warms them up, then
runs them interleaved, so that a change in the machine's speed meets all of them alike. Medians are reported.
"""

import os

# A spinning OpenMP thread costs milliseconds per parallel region on a shared core. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

torch.set_num_threads(min(2, os.cpu_count() or 1))
# Like with like: cuDNN would compute float32 convolutions in TF32.
torch.backends.cudnn.allow_tf32 = False
OURS = "unet_fast"


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The CPU (best instruction set), then CUDA; new tensors are made there."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with torch.device(request.param) as chosen:
        yield chosen


@pytest.fixture
def compare(benchmark: Any) -> Callable[..., None]:
    """Return compare(rivals, group=..., verify=..., gflop=..., gbyte=..., rounds=...)."""

    def run(
        rivals: dict[str, Callable[[], Any]],
        *,
        group: str,
        verify: Callable[[Any, Any], None],
        gflop: float | None = None,
        gbyte: float | None = None,
        rounds: int = 9,
    ) -> None:
        """Time rivals[OURS] against the others.

        Args:
            rivals: name -> call; one of them is OURS.
            group: the heading under which the row is reported.
            verify: verify(ours, other) asserts that two results agree.
            gflop: work of one call, 10^9 floating-point operations.
            gbyte: bytes that one call must move at least, 10^9.
            rounds: timed rounds after one warm-up.
        """
        ours = rivals[OURS]
        others = {name: call for name, call in rivals.items() if name != OURS}
        result = ours()
        for call in others.values():
            verify(result, call())
        times: dict[str, list[float]] = {name: [] for name in others}

        def run_others() -> None:
            for name, call in others.items():
                times[name].append(_seconds(call))

        benchmark.group = group
        benchmark.pedantic(lambda: _seconds(ours), setup=run_others, rounds=rounds, warmup_rounds=1)
        median = benchmark.stats.stats.median if benchmark.stats else _seconds(ours)
        seconds = {OURS: median} | {name: statistics.median(values[1:] or values) for name, values in times.items()}
        benchmark.extra_info |= {
            "seconds": seconds,
            "threads": torch.get_num_threads(),
            "ratio": min([seconds[name] for name in others], default=median) / median,
            "gflops": None if gflop is None else gflop / median,
            "gbytes_per_s": None if gbyte is None else gbyte / median,
        }

    return run


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print one line per benchmark: medians in ms, ours first, and the best rival's time over ours."""
    session = getattr(config, "_benchmarksession", None)
    rows = [bench for bench in getattr(session, "benchmarks", []) if "seconds" in bench.extra_info]
    if not rows:
        return
    terminalreporter.section(f"medians in ms, {torch.get_num_threads()} threads; ratio = best other / {OURS}")
    for bench in rows:
        info = bench.extra_info
        times = "  ".join(f"{name} {1e3 * value:.2f}" for name, value in info["seconds"].items())
        rates = [f"{info['gflops']:.0f} GFLOP/s"] if info["gflops"] else []
        rates += [f"{info['gbytes_per_s']:.1f} GB/s"] if info["gbytes_per_s"] else []
        terminalreporter.line(f"{bench.group} {bench.name}: x{info['ratio']:.2f}  [{times}]  {' '.join(rates)}")
