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
from typing import Any, TypeVar

Item = TypeVar("Item")
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
        agreement: how far the rivals' results are from ours and may be, in words; of tiles, their seams, too.
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

    @property
    def share(self) -> float | None:
        """Ours as a part of the machine's ceiling, None where either is unknown."""
        return self.rate / self.ceiling if self.rate and self.ceiling else None


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
        "; ".join(filter(None, [describe_agreement(info["agreement"]), describe_seams(info.get("seams", {}))])),
    )


def describe_agreement(checks: Iterable[tuple[str, str, float, float]]) -> str:
    """Say of each kind of check, (rival, what, bound, found), the worst that was found and the bound.

    The rivals are named but for the kind that most have.
    """
    kinds = grouped(checks, lambda check: tuple(check[1:3]))
    usual = max(kinds, key=lambda kind: len(kinds[kind]), default=None)
    return "; ".join(
        f"{'' if kind == usual else ' and '.join(check[0] for check in found) + ': '}{kind[0]} "
        f"{max(check[3] for check in found):.2g} (<= {kind[1]:g})"
        for kind, found in kinds.items()
    )


def describe_seams(seams: dict[str, float]) -> str:
    """Say how far each tiled result is from one pass over the whole image."""
    found = ", ".join(f"{name} {error:.1e}" for name, error in seams.items())
    return f"largest difference from one pass over the whole image: {found}" if found else ""


def load(file: Path) -> Run:
    """Read what `--benchmark-json` wrote.

    Raises:
        ValueError: the file is something else.
    """
    try:
        content = json.loads(file.read_text())
        benches = [bench for bench in content["benchmarks"] if bench["extra_info"]]  # an interrupted one has none
        return Run(
            [row_of(bench["name"], bench["group"], bench["extra_info"]) for bench in benches], content["machine"]
        )
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
        share = "" if row.share is None else f"{100 * row.share:.0f} %"
        ours = f"{row.values[OURS]:.{digits}f}"
        ours += f" ({row.spread[0]:.{digits}f} to {row.spread[1]:.{digits}f})" if row.spread else ""
        yield f"| {row.name} | {ours} | {others} | {ratio} | {rate} | {share} | {row.agreement} |"


def tables(run: Run) -> Iterator[str]:
    """Yield the lines of a page: the machine, a line per operator, how times grow, and a table per group."""
    yield from (f"- {name}: {value}" for name, value in run.machine.items())
    yield from summary(run)
    curves = curves_of(run)
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


def rated(run: Run) -> dict[str, list[Row]]:
    """Return group -> rows that have a ratio, the curves left out, the greatest median ratio first."""
    groups = grouped([row for row in run.rows if row.ratio is not None and row.size is None], lambda row: row.group)
    return dict(sorted(groups.items(), key=lambda group: -middle(group[1])))


def middle(rows: Iterable[Row]) -> float:
    """Return the median of the ratios to the best rival."""
    return statistics.median(row.ratio for row in rows if row.ratio is not None)


def summary(run: Run) -> Iterator[str]:
    """Yield the lines of a table of all groups that have a ratio."""
    groups = rated(run)
    if not groups:
        return
    yield from ("", "## summary", "", f"| | benchmarks | best other / {OURS}: median | least | greatest |")
    yield "|---|--:|--:|--:|--:|"
    for group, rows in groups.items():
        ratios = [row.ratio or 0 for row in rows]
        yield f"| {group} | {len(rows)} | **{middle(rows):.2f}** | {min(ratios):.2f} | {max(ratios):.2f} |"


def curves_of(run: Run) -> dict[tuple[str, str], list[Row]]:
    """Return (group, what varies) -> rows, of the groups that vary something."""
    return grouped([row for row in run.rows if row.size], lambda row: (row.group, row.size and row.size[0]))


def growth(rows: Iterable[Row], name: str) -> float | None:
    """Return the power of the size that a rival's time goes with: the slope of a line fitted to the logarithms.

    Of the three largest sizes, for at small ones a constant share counts; None where there are fewer than two.
    """
    sizes = sorted((row.size[1], row.values[name]) for row in rows if row.size and name in row.values)
    points = [(math.log(size), math.log(value)) for size, value in sizes[-3:]]
    if len(points) < 2:
        return None
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def grouped(rows: Iterable[Item], key: Callable[[Item], Any]) -> dict[Any, list[Item]]:
    """Sort rows, or what else, into groups, in the order of the first of each."""
    groups: dict[Any, list[Item]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def changes(new: Run, old: Run) -> Iterator[tuple[str, float, float]]:
    """Yield (name, before, now) of the benchmarks that both runs hold.

    By the ratio to the best rival or, without one, the share of the ceiling: those of two machines, or of two hours,
    can be compared; times cannot.
    """

    def score(row: Row) -> float | None:
        return row.share if row.ratio is None else row.ratio

    before = {(row.group, row.name): score(row) for row in old.rows}
    for row in new.rows:
        earlier, now = before.get((row.group, row.name)), score(row)
        if earlier is not None and now is not None:
            yield row.name, earlier, now


def compare_runs(new: Run, old: Run) -> int:
    """Print how the ratios have changed; return how many have become worse by more than a factor of SLOWER."""
    found = sorted(changes(new, old), key=lambda change: change[2] / change[1])
    print(
        f"| benchmark | best other / {OURS}, else share of ceiling, before | now | change |",
        "|---|--:|--:|--:|",
        sep="\n",
    )
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
