"""Which learning rates work, and what reaches a score soonest: recipes x rates x seeds, after the same number of tiles.

    python -m benchmarks.learning_rates --output FOLDER [--cells bright] [--tiles 200] [--seeds 3] [--base 8]

Thin networks on drawn cells, or on bright cells under noise, which are learned within seconds; scored on the images
held back. The presets of unet_fast.config follow from it.
"""

import sys
import tempfile
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from benchmarks.paper.experiment import Table
from tests.training import bright_cells
from unet_fast.config import PRESETS, TrainConfig
from unet_fast.data import LabelledImages, synthetic_cells
from unet_fast.train import describe_machine
from unet_fast.trainer import Trainer

_PAPER, _COSINE = PRESETS["paper"], PRESETS["modern"]
# Recipe -> its settings, and the learning rates that are tried.
RECIPES: dict[str, tuple[dict[str, Any], Sequence[float]]] = {
    "SGD 0.99, constant (paper)": (_PAPER, (3e-4, 1e-3, 3e-3, 1e-2)),
    "Adam, cosine": (_COSINE, (1e-3, 2e-3, 5e-3)),
    "Adam, cosine, warmup 20": (_COSINE | {"warmup": 20}, (2e-3, 5e-3)),
    "Adam, cosine, average 0.95": (_COSINE | {"ema": 0.95}, (2e-3,)),
    "Adam, cosine, 4 tiles a step": (_COSINE | {"batch_size": 4}, (5e-3,)),
}
COLUMNS = {
    "recipe": ("recipe", ""),
    "rate": ("learning rate", ".0e"),
    "iou": ("IoU, mean", ".3f"),
    "least": ("least", ".3f"),
    "most": ("most", ".3f"),
    "loss": ("loss at the end, mean", ".3f"),
    "seg": ("SEG, mean", ".3f"),
    "failed": ("failed", "d"),
    "seeds": ("seeds", "d"),
}


def scores(settings: dict[str, Any], images: LabelledImages, tiles: int, folder: Path) -> dict[str, float] | None:
    """Train once; return the scores on the images held back, None where the loss did not stay finite."""
    batch = settings.get("batch_size", 1)
    config = TrainConfig(**settings, steps=max(1, tiles // batch), validate_every=1 << 30)
    trainer = Trainer(config, images, folder)
    trainer.validator.score = _once(trainer.validator.score, trainer)  # type: ignore[method-assign]
    try:
        trainer.fit()
    except FloatingPointError:
        return None
    return trainer.state.rows[-1]


def _once(score: Any, trainer: Trainer) -> Any:
    """Leave out the scores before training, which are of no use here."""
    return lambda preview: score(preview) if trainer.state.step or trainer.state.epoch else {}


def row_of(recipe: str, rate: float, found: Sequence[dict[str, float] | None]) -> dict[str, Any]:
    """Return the row of a recipe at a rate: means over the seeds, and the range."""
    finite = [row for row in found if row is not None]
    iou = [row["iou"] for row in finite] + [0.0] * (len(found) - len(finite))
    row = {"recipe": recipe, "rate": rate, "iou": mean(iou), "least": min(iou), "most": max(iou)}
    if finite:
        row |= {name: mean(one[name] for one in finite) for name in ("loss", "seg")}
    return row | {"failed": len(found) - len(finite), "seeds": len(found)}


def draw(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """Draw IoU over the learning rate, the range over the seeds as a bar."""
    axes = figure.subplots()
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == recipe]
        spread = [[row["iou"] - row["least"] for row in own], [row["most"] - row["iou"] for row in own]]
        rates, means = [row["rate"] for row in own], [row["iou"] for row in own]
        axes.errorbar(rates, means, spread, marker="o", capsize=3, linewidth=1, label=recipe)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("IoU on images held back")
    axes.legend(fontsize=7)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for table.md, table.csv and figure.png")
    parser.add_argument("--tiles", type=int, default=200, help="that each training sees")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base", type=int, default=8)
    parser.add_argument("--tile", type=int, default=316)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--only", default="", help="recipes that have this in their name")
    parser.add_argument("--cells", choices=("drawn", "bright"), default="drawn")
    options = parser.parse_args(arguments)
    machine = ", ".join(f"{name} {value}" for name, value in describe_machine().items())
    table = Table(
        f"Learning rates: IoU on {options.cells} cells after {options.tiles} tiles of {options.tile} pixels, "
        f"U-Net of base {options.base}, depth {options.depth}",
        COLUMNS,
        notes=[
            "20 % of the images held back. A training whose loss did not stay finite has failed and counts as IoU 0.",
            f"Command: `python -m benchmarks.learning_rates {' '.join(sys.argv[1:])}`",
            f"Machine: {machine}.",
        ],
    )
    images = bright_cells(16) if options.cells == "bright" else synthetic_cells()
    found: dict[tuple[str, float], list[dict[str, float] | None]] = defaultdict(list)
    for seed in range(options.seeds):  # outermost: a run that is cut short has all ways by fewer seeds
        for recipe, (settings, rates) in RECIPES.items():
            for rate in rates if options.only in recipe else ():
                fixed = {name: getattr(options, name) for name in ("base", "depth", "tile")} | {
                    "seed": seed,
                    "lr": rate,
                }
                with tempfile.TemporaryDirectory() as folder:
                    found[recipe, rate].append(scores(settings | fixed, images, options.tiles, Path(folder)))
        table.rows = [row_of(*way, rows) for way, rows in found.items()]
        table.write(options.output, draw)


if __name__ == "__main__":
    main()
