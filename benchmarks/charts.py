"""Charts of a benchmark run, as PNG files."""

import math
from collections.abc import Iterator
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import OURS, Row, Run, curves_of, grouped, growth, middle, rated


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
        shapes = [row.name.partition("(")[2].partition(")")[0] for row in layers]
        axes.set_xticks(places, shapes, rotation=75, fontsize=7)
        axes.set(xlabel="channels in, channels out, side of the input in pixels", ylabel="ms")
        axes.set_ylim(0, 1.25 * axes.dataLim.ymax)
        axes.set_title(group)
        axes.legend(loc="upper center", ncols=3)
        yield _save(figure, folder / f"{group.replace(' ', '_')}.png")


def _scaling(run: Run, folder: Path) -> Iterator[Path]:
    """Draw time over size for every group that varies something, with the fitted powers and what it should be."""
    curves = curves_of(run)
    if not curves:
        return
    columns = min(3, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.6 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, ((group, what), rows) in zip(panels, curves.items(), strict=False):
        for name in dict.fromkeys(name for row in rows for name in row.values):
            points = sorted((row.size[1], row.values[name]) for row in rows if row.size and name in row.values)
            power = growth(rows, name)
            label = name if power is None else f"{name}, power {power:.2f}"
            axes.plot(*zip(*points, strict=True), "o-", label=label, color="tab:green" if name == OURS else None)
        _ideal(axes, rows)
        axes.set(xscale="log", yscale="log", xlabel=what, ylabel="ms", title=group.removeprefix("scaling "))
        least, greatest = axes.get_ylim()
        if greatest < 10 * least:  # a decade at least, or what is nearly constant would look steep
            middle_of_both = math.sqrt(least * greatest)
            axes.set_ylim(middle_of_both / math.sqrt(10), middle_of_both * math.sqrt(10))
        sizes = sorted({row.size[1] for row in rows if row.size})
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], fontsize=7, rotation=20)
        axes.set_xticks([], minor=True)
        axes.legend(fontsize=7)
    for axes in panels[len(curves) :]:
        axes.remove()
    yield _save(figure, folder / "scaling.png")


def _ideal(axes: Axes, rows: list[Row]) -> None:
    """Draw what the time would be that goes with the work, through our last point, or from one thread on.

    Pixels and images are work; cells in an image of one size are none; threads share it.
    """
    points = sorted((row.size[1], row.values[OURS]) for row in rows if row.size)
    sizes, (last, time) = [size for size, _ in points], points[-1]
    axis = rows[0].size[0] if rows[0].size else ""
    if axis == "threads":
        label, ideal = "shared evenly", [points[0][1] * sizes[0] / size for size in sizes]
    elif axis.startswith("cells"):
        label, ideal = "constant", [time for _ in sizes]
    else:
        label, ideal = "in proportion", [time * size / last for size in sizes]
    axes.plot(sizes, ideal, ":", color="black", label=label)
