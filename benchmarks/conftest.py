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

import unet_fast
from benchmarks.report import OURS, grouped, row_of, table
from unet_fast.ops import build_info

torch.set_num_threads(min(2, torch.get_num_threads()))  # torch counts the cores that this process may use
# Like with like: cuDNN would compute float32 convolutions in TF32.
torch.backends.cudnn.allow_tf32 = False


def pytest_addoption(parser: Any) -> None:
    """Add --full."""
    parser.addoption("--full", action="store_true", help="time the largest sizes, too (many minutes)")


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _spread(rounds: list[float]) -> list[float]:
    """Return the least and the greatest of the timed rounds, seconds."""
    return [min(rounds), max(rounds)]


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


@pytest.fixture
def within(request: pytest.FixtureRequest, quick: bool) -> Callable[[float, float], None]:
    """Return within(size, most): skip the test where its size is beyond `most` and --full is not given.

    Where nothing is timed, a quarter of `most` is the limit.
    """

    def check(size: float, most: float) -> None:
        limit = most / 4 if quick else float("inf") if request.config.getoption("--full") else most
        if size > limit:
            pytest.skip(f"{size:g} only with --full" if not quick else f"{size:g} takes too long for a check")

    return check


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


@pytest.fixture(scope="session")
def best_copy() -> float:
    """The best rate of copying memory with these threads, 10^9 bytes read and written per second."""
    source, target = torch.zeros(1 << 26), torch.zeros(1 << 26)  # 256 MB: beyond the caches
    return max(2e-9 * 4 * source.numel() / _seconds(lambda: target.copy_(source)) for _ in range(5))


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
        size: tuple[str, float] | None = None,
        references: tuple[str, ...] = (),
    ) -> None:
        """Time rivals[OURS] against the others.

        Args:
            rivals: name -> call; one of them is OURS.
            group: the heading under which the row is reported.
            verify: verify(ours, other) asserts that two results agree.
            gflop: work of one call, 10^9 floating-point operations.
            gbyte: bytes that one call must move at least, 10^9.
            rounds: timed rounds after one warm-up.
            size: what a scaling benchmark varies, and its value: ("side", 512).
            references: of the rivals, those that do something else: shown to compare with, they count for no ratio.
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
            "spread": {OURS: _spread(benchmark.stats.stats.data)} | {k: _spread(v[1:]) for k, v in times.items()},
            "threads": torch.get_num_threads(),
            "size": size,
            "references": references,
            "gflops": None if gflop is None else gflop / median,
            "gbytes_per_s": None if gbyte is None else gbyte / median,
            "best_gemm_gflops": request.getfixturevalue("best_gemm") if gflop is not None and on_cpu else None,
            "copy_gbytes_per_s": request.getfixturevalue("best_copy") if gbyte is not None and on_cpu else None,
        }

    return run


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Keep of a run what the report needs: the rows, and what they were measured on."""
    machine = output_json.pop("machine_info")
    cpu, cores = machine["cpu"].get("brand_raw", machine["machine"]), machine["cpu"].get("count", "?")
    build, python = build_info(), machine["python_version"].partition(".final")[0]
    output_json.pop("commit_info", None)
    output_json["machine"] = {
        "date": output_json.pop("datetime")[:10],
        "CPU": f"{cpu}, {cores} cores, {build.instruction_set}",
        "threads": str(torch.get_num_threads()),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "versions": f"unet_fast {unet_fast.__version__}, torch {torch.__version__}, Python {python}",
        "command": "pytest " + " ".join(argument for argument in config.invocation_params.args),
        "OMP_WAIT_POLICY": os.environ["OMP_WAIT_POLICY"],
    }
    keys = ("group", "name", "extra_info")
    output_json["benchmarks"] = [{key: bench[key] for key in keys} for bench in output_json["benchmarks"]]


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print a Markdown table of the medians, and one of the memory."""
    benches = getattr(getattr(config, "_benchmarksession", None), "benchmarks", [])
    rows = [row_of(bench.name, bench.group, bench.extra_info) for bench in benches if bench.extra_info]
    for unit, chosen in grouped(rows, lambda row: row.unit).items():
        ceilings = sorted({f"{row.ceiling:.3g} {row.rate_unit}" for row in chosen if row.ceiling})
        limits = f", ceilings {', '.join(ceilings)}" if ceilings else ""
        terminalreporter.section(f"{unit}: {torch.get_num_threads()} threads{limits}")
        for line in table(chosen):
            terminalreporter.line(line)
