"""Print scores beside the published ones, and write them for spreadsheets and programs."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unet_fast.atomic_write import atomic_write
from unet_fast.scoring.published import Published

# Our scores in the order of the report: how they are called and printed.
NAMES = {
    "warping_error": ("warping error (splits and merges)", ".6f"),
    "rand_error": ("Rand error (1 - F)", ".4f"),
    "pixel_error": ("pixel error (1 - F)", ".4f"),
    "vrand_thinned": ("V_Rand (thinned)", ".4f"),
    "warping_classic": ("warping error (all residual pixels)", ".6f"),
    "seg": ('SEG (the paper\'s "IOU")', ".4f"),
    "f1_50": ("F1 at IoU 0.5", ".4f"),
    "ap_50": ("AP at IoU 0.5", ".4f"),
    "ap_50_95": ("AP, mean of IoU 0.5 to 0.95", ".4f"),
    "mean_iou": ("IoU, mean of classes", ".4f"),
    "foreground_iou": ("IoU of foreground", ".4f"),
    "foreground_dice": ("Dice of foreground", ".4f"),
    "wrong_pixels": ("wrong pixels (fraction)", ".4f"),
}


def format_scores(scores: Mapping[str, float]) -> list[str]:
    """Return a line for each score."""
    lines = []
    for key, value in sorted(scores.items(), key=lambda item: _place(item[0])):
        name, format_ = NAMES.get(key, (key.replace("_", " ").replace("iou ", "IoU of class "), ".4f"))
        lines.append(f"  {name:<38}{value:>10{format_}}")
    return lines


def format_published(scores: Mapping[str, float], published: Published) -> list[str]:
    """Return the published table with our scores on top."""
    lines = [f"  {'':<38}" + "".join(f"{column:>10}" for column in published.columns)]
    ours = [None if name is None else scores.get(name) for name in published.scores]
    lines.append(f"  {'OURS, on the truth named above':<38}" + _row(ours, published.formats))
    lines.append(f"  {published.title}:")
    lines += [f"    {name:<36}" + _row(figures, published.formats) for name, figures in published.rows]
    return lines


def write_csv(path: Path, rows: Sequence[tuple[str, Mapping[str, float]]], total: Mapping[str, float]) -> None:
    """Write one row per image and a last one, "all", for all of them together."""
    columns = sorted(total, key=_place)
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *columns])
        for name, scores in [*rows, ("all", total)]:
            writer.writerow([name, *(f"{scores[column]:.8g}" for column in columns)])


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; numbers that JSON does not know (nan) become null."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=1) + "\n")


def _row(figures: Sequence[float | None], formats: Sequence[str]) -> str:
    cells = ("" if figure is None else f"{figure:{format_}}" for figure, format_ in zip(figures, formats, strict=True))
    return "".join(f"{cell:>10}" for cell in cells)


def _place(key: str) -> tuple[int, str]:
    order = list(NAMES)
    return (order.index(key), "") if key in NAMES else (len(order), key)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
