"""`compare`: time ours and its rivals in turn, round by round, in one process.

Run `pytest benchmarks/ --benchmark-only`. Every benchmark first asserts that all rivals agree, within a bound that is
reported, then warms them up, then runs them interleaved, so that a change in the machine's speed meets all of them
alike. Medians are reported at the end, as Markdown; `--benchmark-json FILE` keeps them. `--full` adds the largest sizes
and the forms that take minutes. With `--benchmark-disable` all rivals run once and must agree, the large ones at a
small size (`quick`).
"""

import os

# A spinning OpenMP thread costs milliseconds per parallel region on a shared core. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

import unet_fast
from benchmarks import peers, rivals
from benchmarks.agreement import Agreement
from benchmarks.allocator import keep_freed_memory
from benchmarks.fma_peak import fma_peak
from benchmarks.report import OURS, grouped, row_of, table
from unet_fast.ops import build_info

torch.set_num_threads(min(2, torch.get_num_threads()))  # torch counts the cores that this process may use
# Like with like: cuDNN would compute float32 convolutions in TF32.
torch.backends.cudnn.allow_tf32 = False

LEAST, MOST = 5, 15  # rounds
BUDGET = 1.0  # seconds, which the rounds of a benchmark may take where they are more than LEAST

_CEILINGS = pytest.StashKey[dict[str, float]]()
_STATE = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: Any) -> None:
    """Add --full and --system-allocator."""
    parser.addoption("--full", action="store_true", help="all sizes, torch.compile and bfloat16 everywhere (an hour)")
    parser.addoption(
        "--system-allocator",
        action="store_true",
        help="leave malloc as it is: glibc's gives large blocks back, as most users of PyTorch have it",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let the memory that a call frees stay warm for the next, whoever's call it is; note the state of the process.

    Now, for a benchmark may change it, and be interrupted.
    """
    kept = not config.getoption("--system-allocator") and keep_freed_memory()
    config.stash[_STATE] = {
        "instruction set": build_info().instruction_set,
        "threads": str(torch.get_num_threads()),
        "OMP_WAIT_POLICY": os.environ["OMP_WAIT_POLICY"],
        "allocator": "freed memory is kept, for all" if kept else "the system's, as it is",
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _spread(rounds: list[float]) -> list[float]:
    """Return the least and the greatest of the timed rounds, seconds."""
    return [min(rounds), max(rounds)]


@pytest.fixture(params=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The CPU (best instruction set), then CUDA where there is a GPU; new tensors are made there."""
    with torch.device(request.param) as chosen:
        yield chosen


@pytest.fixture
def quick(benchmark: Any) -> bool:
    """Whether nothing is timed, so that a small size shows as much as a large one."""
    return bool(benchmark.disabled)


@pytest.fixture
def dear(request: pytest.FixtureRequest, quick: bool) -> rivals.Dear:
    """Which of the forms that cost minutes take part; nothing is compiled where nothing is timed."""
    return rivals.Dear(compiled=False, bfloat16=True) if quick else _dear(request.config)


def _dear(config: pytest.Config) -> rivals.Dear:
    full = config.getoption("--full")
    return rivals.Dear(compiled=full, bfloat16=full or rivals.multiplies_bfloat16())


@pytest.fixture
def within(request: pytest.FixtureRequest, quick: bool) -> Callable[..., None]:
    """Return within(size, most, most_quick): skip the test where its size is beyond `most` and --full is not given.

    Where nothing is timed, `most_quick` is the limit, a quarter of `most` unless given.
    """

    def check(size: float, most: float, most_quick: float | None = None) -> None:
        if quick:
            limit = most / 4 if most_quick is None else most_quick
        else:
            limit = float("inf") if request.config.getoption("--full") else most
        if size > limit:
            pytest.skip("a large size, which takes too long for a check" if quick else "a large size: only with --full")

    return check


@pytest.fixture(scope="session")
def ceilings(request: pytest.FixtureRequest) -> dict[str, float]:
    """The most that this machine does with these threads, measured in this run.

    "FMA": float32 multiply-adds, 10^9 operations per second; absent without a C compiler. "copy": memory read and
    written by a copy, 10^9 bytes per second.
    """
    source, target = torch.zeros(1 << 26, device="cpu"), torch.zeros(1 << 26, device="cpu")  # 256 MB: beyond the caches
    copy = max(2e-9 * 4 * source.numel() / _seconds(lambda: target.copy_(source)) for _ in range(5))
    peak = fma_peak(torch.get_num_threads())
    found = {"copy": copy} | ({} if peak is None else {"FMA": peak})
    request.config.stash[_CEILINGS] = found
    return found


@pytest.fixture
def compare(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return compare(rivals, group=..., agreement=..., gflop=..., gbyte=...)."""

    def run(
        rivals: dict[str, Callable[[], Any]],
        *,
        group: str,
        agreement: Agreement,
        exceptions: Mapping[str, Agreement | None] | None = None,
        gflop: float | None = None,
        gbyte: float | None = None,
        size: tuple[str, float] | None = None,
        references: tuple[str, ...] = (),
    ) -> None:
        """Time rivals[OURS] against the others.

        Args:
            rivals: name -> call; one of them is OURS.
            group: the heading under which the row is reported.
            agreement: what results are checked by, each rival's against ours.
            exceptions: of the rivals, those that another check suits; None where the result is of another kind.
            gflop: work of one call, 10^9 floating-point operations.
            gbyte: bytes that one call must move at least, 10^9.
            size: what a scaling benchmark varies, and its value: ("side", 512).
            references: of the rivals, those that do something else, or are ours: shown to compare with, they count for
                no ratio.
        """
        ours = rivals[OURS]
        others = {name: call for name, call in rivals.items() if name != OURS}
        on_cpu = torch.get_default_device().type == "cpu"
        benchmark.group = group if on_cpu else f"{group} cuda"
        result = benchmark.pedantic(ours) if benchmark.disabled else ours()
        checks = dict.fromkeys(others, agreement) | dict(exceptions or {})
        found = [
            (name, check.what, check.bound, check.check(name, result, call()))
            for name, call in others.items()
            if (check := checks[name]) is not None
        ]
        if benchmark.disabled:
            return
        del result
        times: dict[str, list[float]] = {name: [] for name in others}

        order = deque(others)

        def run_others() -> None:
            for name in order:
                times[name].append(_seconds(others[name]))
            order.rotate(1)  # what a call leaves in the caches, and which threads asleep, meets another in each round

        warm_up = _seconds(run_others) + _seconds(ours)
        times = {name: [] for name in others}
        rounds = min(MOST, max(LEAST, int(BUDGET / warm_up)))
        benchmark.pedantic(lambda: _seconds(ours), setup=run_others, rounds=rounds)
        median = benchmark.stats.stats.median
        seconds = {OURS: median} | {name: statistics.median(values) for name, values in times.items()}
        benchmark.extra_info |= {
            "seconds": seconds,
            "spread": {OURS: _spread(benchmark.stats.stats.data)} | {k: _spread(v) for k, v in times.items()},
            "rounds": rounds,
            "threads": torch.get_num_threads(),
            "size": size,
            "references": references,
            "agreement": found,
            "gflops": None if gflop is None else gflop / median,
            "gbytes_per_s": None if gbyte is None else gbyte / median,
            "ceilings": request.getfixturevalue("ceilings") if on_cpu else {},
        }

    return run


def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Keep of a run what the report needs: the rows, and what they were measured on."""
    machine = output_json.pop("machine_info")
    cpu, cores = machine["cpu"].get("brand_raw", machine["machine"]), machine["cpu"].get("count", "?")
    python = machine["python_version"].partition(".final")[0]
    output_json.pop("commit_info", None)
    output_json["machine"] = {
        "date": output_json.pop("datetime")[:10],
        "CPU": f"{cpu}, {cores} cores",
        **config.stash[_STATE],
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "versions": f"unet_fast {unet_fast.__version__}, torch {torch.__version__}, Python {python}",
        "command": "pytest " + " ".join(argument for argument in config.invocation_params.args),
        "rounds": f"medians of {LEAST} to {MOST}, interleaved, after one to warm up",
        "ceilings": _ceilings(config),
        "peers": peers.versions(),
        "left out": _left_out(config),
    }
    keys = ("group", "name", "extra_info")
    output_json["benchmarks"] = [{key: bench[key] for key in keys} for bench in output_json["benchmarks"]]


def _left_out(config: Any) -> str:
    gpu = "" if torch.cuda.is_available() else "CUDA: no GPU"
    return "; ".join(filter(None, [gpu, _dear(config).left_out])) or "nothing"


def _ceilings(config: Any) -> str:
    found = config.stash.get(_CEILINGS, {})
    units = {"FMA": "GFLOP/s", "copy": "GB/s"}
    return ", ".join(f"{name} {rate:.4g} {units[name]}" for name, rate in found.items()) or "not measured"


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Print a Markdown table of the medians, and one of the memory."""
    benches = getattr(getattr(config, "_benchmarksession", None), "benchmarks", [])
    rows = [row_of(bench.name, bench.group, bench.extra_info) for bench in benches if bench.extra_info]
    if rows:
        terminalreporter.section(f"peers: {peers.versions()}")
        terminalreporter.line(f"left out: {_left_out(config)}")
    for unit, chosen in grouped(rows, lambda row: row.unit).items():
        state = ", ".join(f"{name} {value}" for name, value in config.stash[_STATE].items())
        terminalreporter.section(f"{unit}: {state}, ceilings: {_ceilings(config)}")
        for line in table(chosen):
            terminalreporter.line(line)
