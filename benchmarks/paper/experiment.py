"""What the scripts of this folder share: split, train, score, time, and write a table and a figure.

The last quarter of the images is held back from training and scored at the end. One thing was chosen by it: that FCNs
need another learning rate than the rest.
"""

import csv
import shlex
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from unet_fast.atomic_write import atomic_write
from unet_fast.checkpoint import Model
from unet_fast.config import PRESETS, TrainConfig
from unet_fast.data import LabelledImages, load_folder
from unet_fast.instances import label_instances
from unet_fast.metrics import ctc, em
from unet_fast.predict import predict
from unet_fast.train import describe_machine
from unet_fast.trainer import Trainer

# Input sides of training tiles; each predicts about 150 pixels a side, though what it reads differs.
TILES = {"unet": 332, "sliding_window": 244, "fcn8s": 564, "fcn16s": 564, "fcn32s": 564}
# The sixteen layers of an FCN, without normalisation, may end up with the same scores everywhere: an FCN-32s at 1e-3.
# Skips let the others begin with less depth, and bear more.
RATES = {"unet": 2e-3, "sliding_window": 2e-3, "fcn8s": 1e-3, "fcn16s": 1e-3, "fcn32s": 3e-4}
TIMED_SIDE, TIMED_ROUNDS = 512, 5


@dataclass(frozen=True)
class Size:
    """How large the networks are and how long each is trained.

    Attributes:
        base: width of the U-Net and the FCNs, see TrainConfig.
        window_base: width of the sliding window.
        minutes: of training for a system, where systems of different cost are compared.
        steps: of training, where one network is trained in several ways.
    """

    base: int
    window_base: int
    minutes: float
    steps: int


# "tiny" shows that all works; "thin" takes minutes on two CPU cores; "full" are the networks of the papers, on a GPU.
SIZES = {"tiny": Size(2, 2, 0.05, 3), "thin": Size(8, 12, 2.0, 400), "full": Size(64, 48, 60.0, 20_000)}


@dataclass
class Table:
    """A table that is written as Markdown, CSV and a figure.

    Attributes:
        title: what it shows, a sentence.
        columns: key -> (heading, format).
        rows: values by key; what is missing stays empty.
        notes: sentences below the table.
    """

    title: str
    columns: dict[str, tuple[str, str]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row and show it."""
        self.rows.append(row)
        print(
            "  ".join(f"{self.columns[key][0]} {self._cell(row, key)}" for key in self.columns if key in row),
            flush=True,
        )

    def write(self, folder: Path, draw: Callable[[Figure, list[dict[str, Any]]], None]) -> None:
        """Write table.md, table.csv and figure.png."""
        folder.mkdir(parents=True, exist_ok=True)
        keys = list(self.columns)
        lines = [f"# {self.title}", "", "| " + " | ".join(self.columns[key][0] for key in keys) + " |"]
        lines.append("|" + "|".join(" --- " if i == 0 else " ---: " for i in range(len(keys))) + "|")
        lines += ["| " + " | ".join(self._cell(row, key) for key in keys) + " |" for row in self.rows]
        with atomic_write(folder / "table.md") as path:
            path.write_text("\n".join([*lines, "", *(f"{note}  " for note in self.notes)]) + "\n")
        with atomic_write(folder / "table.csv") as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, keys, restval="")
            writer.writeheader()
            writer.writerows({key: row[key] for key in keys if key in row} for row in self.rows)
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        draw(figure, self.rows)
        with atomic_write(folder / "figure.png") as path:
            figure.savefig(path, dpi=90)
        print(f"written to {folder}: table.md, table.csv, figure.png")

    def _cell(self, row: dict[str, Any], key: str) -> str:
        return format(row[key], self.columns[key][1]) if row.get(key) is not None else ""


def command_line(description: str) -> ArgumentParser:
    """Return the arguments that all scripts share."""
    parser = ArgumentParser(description=description)
    parser.add_argument("data", type=Path, help="folder of labelled images, as for unet_fast.train")
    parser.add_argument("--output", type=Path, required=True, help="folder for table.md, table.csv and figure.png")
    parser.add_argument("--size", choices=SIZES, default="thin", help="of the networks, and how long they are trained")
    parser.add_argument("--base", type=int, help="width of the U-Net and the FCNs, instead of the size's")
    parser.add_argument("--window-base", type=int, help="width of the sliding window, instead of the size's")
    parser.add_argument("--minutes", type=float, help="of training for each system, instead of the size's")
    parser.add_argument("--steps", type=int, help="of training in each way, instead of the size's")
    parser.add_argument("--training-images", type=int, help="train on the first so many alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads; default torch's")
    return parser


def parse(parser: ArgumentParser, arguments: Sequence[str] | None) -> tuple[Namespace, Size]:
    """Read a command line that begins with `command_line`'s arguments."""
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    given = {one.name: getattr(options, one.name) for one in fields(Size)}
    return options, replace(SIZES[options.size], **{name: value for name, value in given.items() if value is not None})


def split(options: Namespace) -> tuple[LabelledImages, LabelledImages]:
    """Return the images to train on, and the last quarter, which is held back."""
    images = load_folder(options.data)
    held_back = max(1, len(images) // 4)
    count = min(options.training_images or len(images), len(images) - held_back)
    if count < 1:
        raise ValueError(f"data: wanted at least 2 images, got {len(images)} in {options.data}")
    return images.subset(range(count)), images.subset(range(len(images) - held_back, len(images)))


def notes(options: Namespace, script: str, images: tuple[LabelledImages, LabelledImages]) -> list[str]:
    """Return how the table came about."""
    machine = ", ".join(f"{name} {value}" for name, value in describe_machine().items())
    command = shlex.join(["python", "-m", f"benchmarks.paper.{script}", *sys.argv[1:]])
    training, held_back = images
    return [
        f"Trained on {len(training)} images, scored on {len(held_back)} others of the same set; seed {options.seed}.",
        f"Command: `{command}`",
        f"Machine: {machine}.",
    ]


def train(images: LabelledImages, options: Namespace, size: Size, timed: bool = False, **settings: Any) -> Model:
    """Train a network on all of some images.

    Args:
        images: to train on.
        options: of the command line.
        size: of the networks; how long they are trained.
        timed: for `size.minutes`; else for `size.steps` steps.
        settings: of TrainConfig.
    """
    kind = settings.get("model", "unet")
    budget: dict[str, Any] = {"hours": size.minutes / 60} if timed else {"steps": size.steps}
    shape: dict[str, Any] = {
        "base": size.window_base if kind == "sliding_window" else size.base,
        "tile": TILES[kind],
        "lr": RATES[kind],
    }
    if kind != "unet":
        # The weight map is the U-Net's. Its border term makes membranes outweigh cells several times over, so that a
        # network that does not know better calls all membrane; classes are balanced, as Ciresan et al. draw windows.
        shape["border"] = 0.0
    fixed = {"validation": 0.0, "validate_every": 1 << 30, "seed": options.seed}
    known = {one.name for one in fields(TrainConfig)}
    config = TrainConfig(
        **{
            name: value
            for name, value in (PRESETS["modern"] | shape | fixed | budget | settings).items()
            if name in known
        }
    )
    config.check()
    torch.manual_seed(options.seed)
    name = "-".join([kind, *(f"{key}_{value}" for key, value in settings.items() if isinstance(value, int | float))])
    trainer = Trainer(config, images, options.output / "runs" / name)
    trainer.fit()
    return trainer.model


def probabilities(model: Model, images: LabelledImages) -> list[np.ndarray]:
    """Predict the foreground of images, [H, W] each."""
    return [
        1 - predict(model.net, image, probabilities=True, normalization=model.normalization)[0]
        for image in images.images
    ]


def scores(images: LabelledImages, found: Sequence[np.ndarray]) -> dict[str, float]:
    """Score foregrounds: membranes by the ISBI challenge's errors, cells by the Cell Tracking Challenge's SEG."""
    truth = [images.target(i) for i in range(len(images))]
    found = [np.clip(one, 0, 1) for one in found]
    if images.label_kind == "mask":  # each the least over thresholds, as in the challenge
        return {
            "pixel_error": em.pixel_error(truth, found),
            "rand_error": em.rand_error(truth, found),
            "warping_error": em.warping_error(truth, found),
            "wrong": em.pixel_error(truth, found, variant="mismatch"),
        }
    masks = [one > 0.5 for one in found]
    cells = [label_instances(one) for one in masks]
    instances = [np.maximum(one, 0) for one in images.instances]
    return {
        "seg": ctc.seg(instances, cells),
        "f1": ctc.f1_at_iou(instances, cells)[0],
        "iou": ctc.iou(instances, cells),
        "wrong": float(np.mean([np.mean(one != (mask > 0)) for one, mask in zip(masks, truth, strict=True)])),
    }


def score_columns(images: LabelledImages) -> dict[str, tuple[str, str]]:
    """Return the columns of a table for what `scores` returns."""
    if images.label_kind == "mask":
        return {
            "pixel_error": ("pixel error", ".4f"),
            "rand_error": ("Rand error", ".4f"),
            "warping_error": ("warping error", ".6f"),
            "wrong": ("wrong pixels", ".4f"),
        }
    columns = {"seg": "SEG", "f1": "F1 at IoU 0.5", "iou": "IoU of foreground", "wrong": "wrong pixels"}
    return {key: (heading, ".4f") for key, heading in columns.items()}


def seconds(model: Model) -> float:
    """Return the seconds that prediction of an image of 512x512 takes, the least of a few rounds."""
    image = np.random.default_rng(0).random((model.net.channels, TIMED_SIDE, TIMED_SIDE), np.float32)
    predict(model.net, image)
    taken = []
    for _ in range(TIMED_ROUNDS):
        start = time.perf_counter()
        predict(model.net, image)
        taken.append(time.perf_counter() - start)
    return min(taken)


def parameters(model: Model) -> int:
    """Return the number of parameters of a network."""
    return sum(p.numel() for p in model.net.parameters())


def draw_bars(names: str, *columns: tuple[str, str]) -> Callable[[Figure, list[dict[str, Any]]], None]:
    """Return what draws a bar for each row, in a panel for each column (key, heading)."""

    def draw(figure: Figure, rows: list[dict[str, Any]]) -> None:
        for axes, (key, heading) in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
            shown = [row for row in rows if row.get(key) is not None]
            axes.bar(range(len(shown)), [row[key] for row in shown], color="tab:blue")
            axes.set_title(heading, fontsize=9)
            labels = [str(row[names]) for row in shown]
            axes.set_xticks(range(len(shown)), labels, rotation=30, ha="right", fontsize=7)
            axes.tick_params(axis="y", labelsize=7)
            if key == "seconds":
                axes.set_yscale("log")

    return draw


def score_panels(images: LabelledImages) -> list[tuple[str, str]]:
    """Return the scores that a figure shows."""
    if images.label_kind == "mask":
        return [("pixel_error", "pixel error (less is better)"), ("rand_error", "Rand error (less is better)")]
    return [("seg", "SEG (more is better)"), ("f1", "F1 at IoU 0.5 (more is better)")]
