"""`compare`: time ours and its rivals in turn, round by round, in one process.

Run `pytest benchmarks/ --benchmark-only`. Every benchmark first asserts that all rivals agree, then warms them up, then
runs them interleaved, so that a change in the machine's speed meets all of them alike. Medians are reported at the
end, as Markdown; `--benchmark-json FILE` keeps the time of every round. With `--benchmark-disable` all rivals run once
and must agree, the large ones at a small size (`quick`).
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

torch.set_num_threads(min(2, torch.get_num_threads()))  # torch counts the cores that this process may use
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
def quick(benchmark: Any) -> bool:
    """Whether nothing is timed, so that a small size shows as much as a large one."""
    return bool(benchmark.disabled)


@pytest.fixture(scope="session")
def best_gemm() -> float:
    """The best rate of PyTorch's float32 matrix product over a few sizes, 10^9 operations per second.

    It stands for the most that the CPU can multiply and add with these threads: close to it, never above it.
    """
    rates = []
    for side in (512, 768, 1024, 1536, 2048):
        a, b, product = (torch.randn(side, side) for _ in range(3))
        rates += [
            2e-9 * side**3 / _seconds(lambda a=a, b=b, product=product: torch.mm(a, b, out=product)) for _ in range(10)
        ]
    return max(rates)


@pytest.fixture
def compare(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
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
        benchmark.group = group
        result = benchmark.pedantic(ours) if benchmark.disabled else ours()
        for call in others.values():
            verify(result, call())
        if benchmark.disabled:
            return
        del result
        times: dict[str, list[float]] = {name: [] for name in others}

        def run_others() -> None:
            for name, call in others.items():
                times[name].append(_seconds(call))

        benchmark.pedantic(lambda: _seconds(ours), setup=run_others, rounds=rounds, warmup_rounds=1)
        median = benchmark.stats.stats.median
        seconds = {OURS: median} | {name: statistics.median(values[1:]) for name, values in times.items()}
        on_cpu = torch.get_default_device().type == "cpu"
        benchmark.extra_info |= {
            "seconds": seconds,
            "rounds": {name: values[1:] for name, values in times.items()},  # those of ours are in the benchmark itself
            "threads": torch.get_num_threads(),
            "ratio": min([seconds[name] for name in others], default=median) / median,
            "gflops": None if gflop is None else gflop / median,
            "gbytes_per_s": None if gbyte is None else gbyte / median,
            "best_gemm_gflops": request.getfixturevalue("best_gemm") if gflop is not None and on_cpu else None,
        }

    return run


def _others(values: dict[str, float], form: Callable[[float], str]) -> str:
    return "; ".join(f"{name} {form(value)}" for name, value in values.items() if name != OURS)


def _timed_rows(benches: list[Any]) -> Iterator[str]:
    """Medians, the best rival's time over ours, the rate of ours, and its share of what matrix products reach.

    Rates count the work as it is written; an algorithm that needs less of it may reach more than 100 %.
    """
    yield f"| benchmark | {OURS}, ms | others, ms | best other / {OURS} | rate | share of best GEMM |"
    yield "|---|--:|---|--:|--:|--:|"
    for bench in benches:
        info = bench.extra_info
        rates = [f"{info['gflops']:.0f} GFLOP/s"] if info["gflops"] else []
        rates += [f"{info['gbytes_per_s']:.1f} GB/s"] if info["gbytes_per_s"] else []
        peak = info["best_gemm_gflops"]
        share = f"{100 * info['gflops'] / peak:.0f} %" if peak else ""
        ours = f"{1e3 * info['seconds'][OURS]:.2f}"
        others = _others(info["seconds"], lambda value: f"{1e3 * value:.2f}")
        name = bench.name.removeprefix("test_")
        yield f"| {name} | {ours} | {others} | {info['ratio']:.2f} | {' '.join(rates)} | {share} |"


def _memory_rows(benches: list[Any]) -> Iterator[str]:
    yield f"| peak memory | {OURS}, MB | others, MB | {OURS} / others |"
    yield "|---|--:|---|---|"
    for bench in benches:
        values = bench.extra_info["megabytes"]
        ours = values[OURS]
        others, ratios = _others(values, lambda v: f"{v:.0f}"), _others(values, lambda v, ours=ours: f"{ours / v:.2f}")
        yield f"| {bench.name.removeprefix('test_')} | {ours:.0f} | {others} | {ratios} |"


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print a Markdown table of the medians, and one of the memory."""
    benches = getattr(getattr(config, "_benchmarksession", None), "benchmarks", [])
    for key, rows in (("seconds", _timed_rows), ("megabytes", _memory_rows)):
        chosen = [bench for bench in benches if key in bench.extra_info]
        if not chosen:
            continue
        peaks = {bench.extra_info["best_gemm_gflops"] for bench in chosen if bench.extra_info.get("best_gemm_gflops")}
        limit = "".join(f", best GEMM {peak:.0f} GFLOP/s" for peak in peaks)
        terminalreporter.section(f"{key}: {torch.get_num_threads()} threads{limit}")
        for row in rows(chosen):
            terminalreporter.line(row)
