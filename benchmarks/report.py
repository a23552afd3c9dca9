"""Turn a run of the benchmarks into tables and charts, and compare two runs.

    pytest benchmarks/ --benchmark-only --benchmark-json run.json
    python -m benchmarks.report run.json --output report/
    python -m benchmarks.report new.json --against old.json

A run's file holds the median of every rival, the work of one call and the machine's ceilings, measured in the same run.
Rates count the work as it is written: an algorithm that needs less of it may reach more than 100 % of the ceiling.
"""

import json
import math
import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "unet_fast"
SLOWER = 1.1  # a ratio to the best rival that falls by more than this factor is called a regression


@dataclass(frozen=True)
class Row:
    """One benchmark.

    Attributes:
        name: of the test, with its parameters.
        group: the operator, or what else is compared.
        unit: "ms" or "MB".
        values: rival -> median, OURS among them.
        spread: the least and the greatest of our rounds, or None.
        rate: work of one call per second of ours, 10^9, or None.
        rate_unit: "GFLOP/s" or "GB/s".
        ceiling: the machine's, in the same unit and run, or None.
        references: names in `values` that are no rivals, but say how long something else takes.
        agreement: how far the rivals' results are from ours and may be, in words.
        size: what a scaling benchmark varies and its value, such as ("side", 512), or None.
    """

    name: str
    group: str
    unit: str
    values: dict[str, float]
    spread: tuple[float, float] | None = None
    rate: float | None = None
    rate_unit: str = ""
    ceiling: float | None = None
    size: tuple[str, float] | None = None
    references: tuple[str, ...] = ()
    agreement: str = ""

    @property
    def others(self) -> dict[str, float]:
        """The rivals and the references."""
        return {name: value for name, value in self.values.items() if name != OURS}

    @property
    def best_rival(self) -> float | None:
        """The least time or memory of a rival, None without one."""
        return min((value for name, value in self.others.items() if name not in self.references), default=None)

    @property
    def ratio(self) -> float | None:
        """The best rival's time or memory over ours, None without a rival."""
        return None if self.best_rival is None else self.best_rival / self.values[OURS]


@dataclass(frozen=True)
class Run:
    """All rows of one run, and what it ran on: lines of "name: value"."""

    rows: list[Row]
    machine: dict[str, str]


def row_of(name: str, group: str | None, info: dict[str, Any]) -> Row:
    """Return the row of a benchmark from its name and what `compare` noted in its extra_info."""
    name = name.removeprefix("test_")
    if "megabytes" in info:
        return Row(name, group or "memory", "MB", info["megabytes"])
    milliseconds = {rival: 1e3 * value for rival, value in info["seconds"].items()}
    rate, unit = (info["gflops"], "GFLOP/s") if info["gflops"] else (info["gbytes_per_s"], "GB/s")
    ceiling = info["ceilings"].get("FMA" if unit == "GFLOP/s" else "copy")
    size = info.get("size")
    least, greatest = (1e3 * value for value in info["spread"][OURS])
    return Row(
        name,
        group or "",
        "ms",
        milliseconds,
        (least, greatest),
        rate,
        unit if rate else "",
        ceiling,
        size and tuple(size),
        tuple(info["references"]),
        describe_agreement(info["agreement"]),
    )


def describe_agreement(checks: Iterable[tuple[str, str, float, float]]) -> str:
    """Say of each kind of check, (rival, what, bound, found), the worst that was found and the bound."""
    kinds: dict[tuple[str, float], list[tuple[str, float]]] = {}
    for rival, what, bound, found in checks:
        kinds.setdefault((what, bound), []).append((rival, found))
    several = len(kinds) > 1
    return "; ".join(
        f"{', '.join(rival for rival, _ in rivals) + ': ' if several else ''}{what} "
        f"{max(found for _, found in rivals):.2g} (<= {bound:g})"
        for (what, bound), rivals in kinds.items()
    )


def load(file: Path) -> Run:
    """Read what `--benchmark-json` wrote.

    Raises:
        ValueError: the file is something else.
    """
    try:
        content = json.loads(file.read_text())
        rows = [row_of(bench["name"], bench["group"], bench["extra_info"]) for bench in content["benchmarks"]]
        return Run(rows, content["machine"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: wanted what pytest benchmarks/ --benchmark-json writes: {error!r}") from error


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a Markdown table of rows of one unit."""
    rows = list(rows)
    unit = rows[0].unit
    yield (
        f"| benchmark | {OURS}, {unit} (spread) | others, {unit} | best other / {OURS} | rate | share of ceiling "
        "| agreement, checked before |"
    )
    yield "|---|--:|---|--:|--:|--:|---|"
    digits = 2 if unit == "ms" else 0
    for row in rows:
        others = "; ".join(
            f"({name} {value:.{digits}f})" if name in row.references else f"{name} {value:.{digits}f}"
            for name, value in row.others.items()
        )
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        rate = f"{row.rate:.3g} {row.rate_unit}" if row.rate else ""
        share = f"{100 * row.rate / row.ceiling:.0f} %" if row.rate and row.ceiling else ""
        ours = f"{row.values[OURS]:.{digits}f}"
        ours += f" ({row.spread[0]:.{digits}f} to {row.spread[1]:.{digits}f})" if row.spread else ""
        yield f"| {row.name} | {ours} | {others} | {ratio} | {rate} | {share} | {row.agreement} |"


def tables(run: Run) -> Iterator[str]:
    """Yield the lines of a page: the machine, how times grow, and a table per group."""
    yield from (f"- {name}: {value}" for name, value in run.machine.items())
    curves = grouped([row for row in run.rows if row.size], lambda row: (row.group, row.size and row.size[0]))
    if curves:
        yield from (
            "",
            "## growth",
            "",
            "Time goes as this power of the size; 1 is in proportion to it, 0 constant.",
            "",
        )
        yield from (f"| curve | over | from | to | power, {OURS} | power, others |", "|---|---|--:|--:|--:|---|")
    for (group, axis), rows in curves.items():
        sizes = sorted(row.size[1] for row in rows if row.size)
        names = dict.fromkeys(name for row in rows for name in row.others)
        others = "; ".join(f"{name} {power:.2f}" for name in names if (power := growth(rows, name)) is not None)
        ours = growth(rows, OURS)
        power = "" if ours is None else f"{ours:.2f}"
        yield f"| {group} | {axis} | {sizes[0]:g} | {sizes[-1]:g} | {power} | {others} |"
    for group, rows in grouped(run.rows, lambda row: row.group).items():
        yield from ("", f"## {group}", "", *table(rows))


def growth(rows: Iterable[Row], name: str) -> float | None:
    """Return the power of the size that a rival's time goes with: the slope of a line fitted to the logarithms.

    Of the three largest sizes, for at small ones a constant share counts; None where there are fewer than two.
    """
    sizes = sorted((row.size[1], row.values[name]) for row in rows if row.size and name in row.values)
    points = [(math.log(size), math.log(value)) for size, value in sizes[-3:]]
    if len(points) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Sort rows into groups, in the order of the first row of each."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def changes(new: Run, old: Run) -> Iterator[tuple[str, float, float]]:
    """Yield (name, ratio before, ratio now) of the benchmarks that both runs hold.

    Ratios to the best rival: those of two machines, or of two hours, can be compared; times cannot.
    """
    before = {row.name: row.ratio for row in old.rows}
    for row in new.rows:
        earlier = before.get(row.name)
        if earlier is not None and row.ratio is not None:
            yield row.name, earlier, row.ratio


def compare_runs(new: Run, old: Run) -> int:
    """Print how the ratios have changed; return how many have become worse by more than a factor of SLOWER."""
    found = sorted(changes(new, old), key=lambda change: change[2] / change[1])
    print(f"| benchmark | best other / {OURS} before | now | change |", "|---|--:|--:|--:|", sep="\n")
    for name, before, now in found:
        note = " REGRESSION" if now * SLOWER < before else ""
        print(f"| {name} | {before:.2f} | {now:.2f} | {now / before:.2f}{note} |")
    return sum(now * SLOWER < before for _, before, now in found)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the status is 1 where a benchmark has become worse, 2 where a file cannot be read."""
    parser = ArgumentParser(prog="python -m benchmarks.report", description="Tables and charts of a benchmark run.")
    parser.add_argument("run", type=Path, help="what pytest benchmarks/ --benchmark-json wrote")
    parser.add_argument("--against", type=Path, help="an earlier run: print how the ratios have changed")
    parser.add_argument(
        "--output", type=Path, help="folder for report.md and the charts; default: the table is printed"
    )
    options = parser.parse_args(arguments)
    try:
        run = load(options.run)
        if options.against:
            return 1 if compare_runs(run, load(options.against)) else 0
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not options.output:
        print(*tables(run), sep="\n")
        return 0
    from benchmarks.charts import draw  # noqa: PLC0415  matplotlib takes a second

    options.output.mkdir(parents=True, exist_ok=True)
    charts = draw(run, options.output)
    pictures = [f"![{chart.stem}]({chart.name})" for chart in charts]
    (options.output / "report.md").write_text("\n".join([*tables(run), "", *pictures, ""]))
    print(f"wrote {options.output / 'report.md'} and {len(charts)} charts beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
