"""Score a segmentation against the truth: `python -m unet_fast.evaluate TRUTH PREDICTION`.

Membranes get the measures of the paper's table 1 (warping, Rand and pixel error), cells those of its table 2 (SEG) and
the usual ones (F1, AP, IoU, Dice); the published figures are printed beside ours.
"""

import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser
from tqdm import tqdm

from unet_fast import __version__
from unet_fast.scoring.pairs import find_pairs
from unet_fast.scoring.pictures import COLOURS, cell_errors, membrane_errors, write_picture
from unet_fast.scoring.published import CELLS, MEMBRANES, Published
from unet_fast.scoring.reading import Compared, Truth, compared_images, read_truth
from unet_fast.scoring.report import format_published, format_scores, write_csv, write_json
from unet_fast.scoring.tallies import Cells, Classes, Membranes, Scores, Tally


@dataclass
class EvaluateConfig:
    """Score a segmentation against the truth.

    Args:
        truth: label image or stack; folder of label images, or of labelled images as for training; or a Cell Tracking
            Challenge data set or sequence (01_GT).
        prediction: image or stack; folder whose files bear the names of the truth's (suffixes such as _labels, _masks
            and _probabilities do not matter); 01_RES, or a folder whose file names hold the frame numbers.
        output: folder for scores.csv, scores.json and a picture of the errors of each image, made where missing;
            default: the table is printed and nothing written.
        metrics: "membranes" is warping, Rand and pixel error; "cells" is SEG, F1, AP, IoU and Dice; "both" is both;
            "auto" takes membranes where the truth is a mask, cells where it numbers them, IoU by class where it holds
            classes.
        label_kind: what the truth's values mean; "auto" tells from place and values.
        prediction_kind: what the prediction's values mean; "auto" tells from names and values.
    """

    truth: Path
    prediction: Path
    output: Path | None = None
    metrics: Literal["auto", "membranes", "cells", "both"] = "auto"
    label_kind: Literal["auto", "mask", "instances", "classes", "freiburg"] = "auto"
    prediction_kind: Literal["auto", "labels", "probabilities"] = "auto"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        kind: of the truth: "mask", "instances", "classes" or "freiburg".
        metrics: "membranes", "cells" and "classes": the families of scores.
        scores: of all images together.
        images: name and scores of each image.
        tables: of each family, what its scores were read off.
    """

    kind: str
    metrics: tuple[str, ...]
    scores: Scores
    images: tuple[tuple[str, Scores], ...]
    tables: dict[str, Any]


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Score what the configuration names; print the table and write what it asks for.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: files cannot be read, or do not go together.
    """
    pairs = find_pairs(config.truth, config.prediction)
    truth = read_truth(pairs, None if config.label_kind == "auto" else config.label_kind)
    tallies = _families(truth, config.metrics)
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
    images: list[tuple[str, Scores]] = []
    total = sum(map(len, truth.codes))
    progress = tqdm(total=total, unit="image", disable=not sys.stderr.isatty(), leave=False)
    with progress:
        for image in compared_images(truth, config.prediction_kind):
            scores: Scores = {}
            for tally in tallies.values():
                scores = tally.add(image) | scores
            images.append((image.name, scores))
            if config.output is not None:
                _draw(image, tuple(tallies), config.output)
            progress.update()
    scores = {}
    for tally in tallies.values():
        scores = tally.total() | scores
    tables = {name: tally.tables() for name, tally in tallies.items()}
    found = Evaluation(truth.meaning.kind, tuple(tallies), scores, tuple(images), tables)
    _print(config, pairs.notes, found)
    if config.output is not None:
        _write(config, found)
    return found


def _families(truth: Truth, metrics: str) -> dict[str, Tally]:
    kind = truth.meaning.kind
    families: dict[str, Tally] = {}
    if metrics in {"membranes", "both"} or (metrics == "auto" and kind == "mask"):
        families["membranes"] = Membranes()
    if metrics in {"cells", "both"} or (metrics == "auto" and kind in {"instances", "freiburg"}):
        families["cells"] = Cells()
    if kind == "classes":
        families["classes"] = Classes(truth.meaning.codes)
    return families


def _draw(image: Compared, families: tuple[str, ...], folder: Path) -> None:
    draw = membrane_errors if families[0] == "membranes" else cell_errors
    name = re.sub(r"[^\w.-]+", "_", image.name).strip("_")
    write_picture(folder / f"{name}_errors.png", draw(image))


def _print(config: EvaluateConfig, notes: tuple[str, ...], found: Evaluation) -> None:
    count = f"{len(found.images)} image{'s' if len(found.images) > 1 else ''}"
    print(f"truth       {config.truth}: {count}, {found.kind}")
    print(f"prediction  {config.prediction}")
    for note in notes:
        print(f"note: {note}")
    print("\nOURS, all images together")
    print("\n".join(format_scores(found.scores)))
    for name, published in _published(found).items():
        if published is not None:
            print(f"\n{name} beside others; the published figures are of other images: no ranking follows")
            print("\n".join(format_published(found.scores, published)))


def _published(found: Evaluation) -> dict[str, Published | None]:
    tables = {"membranes": MEMBRANES, "cells": CELLS}
    return {name: tables.get(name) for name in found.metrics}


def _write(config: EvaluateConfig, found: Evaluation) -> None:
    output = config.output
    if output is None:
        return
    write_csv(output / "scores.csv", found.images, found.scores)
    content = {
        "unet_fast": __version__,
        "truth": str(config.truth),
        "prediction": str(config.prediction),
        "kind": found.kind,
        "metrics": found.metrics,
        "scores": found.scores,
        "tables": found.tables,
        "images": dict(found.images),
        "published": {name: asdict(table) for name, table in _published(found).items() if table is not None},
        "colours": COLOURS,
    }
    write_json(output / "scores.json", content)
    print(f"\nwritten to {output}: scores.csv, scores.json and {len(found.images)} pictures *_errors.png, in which")
    for name, (red, green, blue) in COLOURS.items():
        print(f"  {name:<18} is #{red:02x}{green:02x}{blue:02x}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = ArgumentParser(
        prog="python -m unet_fast.evaluate", description="Score a segmentation against the truth, image by image."
    )
    parser.add_argument("truth", type=Path, help="label image, stack, folder, or 01_GT of a sequence")
    parser.add_argument("prediction", type=Path, help="labels, mask or probabilities in the same form; 01_RES")
    parser.add_class_arguments(EvaluateConfig, skip={"truth", "prediction"})
    config = EvaluateConfig(**vars(parser.parse_args(arguments)))
    try:
        evaluate(config)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
