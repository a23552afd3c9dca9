"""Charts of a benchmark run, as PNG files."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import OURS, Row, Run, grouped, growth, middle, rated


def draw(run: Run, folder: Path) -> list[Path]:
    """Write all charts that the run has rows for; return their files."""
    return [*_ratios(run, folder), *_layers(run, folder), *_scaling(run, folder)]


def _save(figure: Figure, file: Path) -> Path:
    figure.savefig(file, dpi=120, bbox_inches="tight")
    return file


def _ratios(run: Run, folder: Path) -> Iterator[Path]:
    """Draw a bar per group, the median of how many times the best rival takes our time, and a dot per benchmark."""
    groups = rated(run)
    if not groups:
        return
    figure = Figure(figsize=(8, 0.8 + 0.27 * len(groups)))
    axes = figure.subplots()
    medians = [middle(rows) for rows in groups.values()]
    names = [f"{group}  {ratio:.1f}" for group, ratio in zip(groups, medians, strict=True)]
    colors = ["tab:green" if ratio >= 1 else "tab:red" for ratio in medians]
    axes.barh(names, [ratio - 1 for ratio in medians], left=1, color=colors)
    dots = [(row.ratio, place) for place, rows in enumerate(groups.values()) for row in rows]
    axes.plot(*zip(*dots, strict=True), "o", markersize=3, color="black", alpha=0.5)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.invert_yaxis()
    axes.set_xlabel(f"time (or memory) of the best rival / {OURS}: median, and each benchmark")
    yield _save(figure, folder / "ratios.png")


def _layers(run: Run, folder: Path) -> Iterator[Path]:
    """Draw the layers of the network one by one: ours, the best rival, and the work at the machine's ceiling."""
    rows = [row for row in run.rows if row.group.startswith("layer")]
    for group, layers in grouped(rows, lambda row: row.group).items():
        figure = Figure(figsize=(9, 4))
        axes = figure.subplots()
        places = range(len(layers))
        axes.plot(places, [row.best_rival for row in layers], "o-", color="tab:gray", label="best rival")
        axes.plot(places, [row.values[OURS] for row in layers], "o-", color="tab:green", label=OURS)
        floors = [row.values[OURS] * row.share for row in layers if row.share]
        if len(floors) == len(layers):
            axes.plot(places, floors, "--", color="black", label="the direct sums at the FMA peak")
        axes.set_xticks(places, [row.name.partition("[")[2].rstrip("]") for row in layers], rotation=75, fontsize=7)
        axes.set_ylabel("ms")
        axes.set_title(group)
        axes.legend()
        yield _save(figure, folder / f"{group.replace(' ', '_')}.png")


def _scaling(run: Run, folder: Path) -> Iterator[Path]:
    """Draw time over size for every group that varies something, with the fitted powers and what is in proportion."""
    for (group, what), rows in grouped([row for row in run.rows if row.size], _group_and_axis).items():
        figure = Figure(figsize=(6, 4))
        axes = figure.subplots()
        for name in dict.fromkeys(name for row in rows for name in row.values):
            points = sorted((row.size[1], row.values[name]) for row in rows if row.size and name in row.values)
            power = growth(rows, name)
            label = name if power is None else f"{name}, power {power:.2f}"
            axes.plot(*zip(*points, strict=True), "o-", label=label, color="tab:green" if name == OURS else None)
        _linear(axes, rows)
        axes.set(xscale="log", yscale="log", xlabel=what, ylabel="ms", title=group)
        axes.legend(fontsize=8)
        yield _save(figure, folder / f"{group.replace(' ', '_')}.png")


def _linear(axes: Axes, rows: list[Row]) -> None:
    """Draw what time in proportion to the size would be, from our last point down; or, over threads, the reverse."""
    points = sorted((row.size[1], row.values[OURS]) for row in rows if row.size)
    sizes = [size for size, _ in points]
    if rows[0].size and rows[0].size[0] == "threads":
        ideal = [points[0][1] * sizes[0] / size for size in sizes]
    else:
        ideal = [points[-1][1] * size / sizes[-1] for size in sizes]
    axes.plot(sizes, ideal, ":", color="black", label="in proportion")


def _group_and_axis(row: Row) -> tuple[str, str]:
    return row.group, row.size[0] if row.size else ""
