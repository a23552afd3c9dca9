"""Pictures of a training run: curves and previews."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_fast.atomic_write import atomic_write


def _figure(**options: Any) -> tuple[Any, Any]:
    import matplotlib  # noqa: PLC0415  (half a second: only where a picture is drawn)

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    return pyplot.subplots(**options)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot  # noqa: PLC0415

    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)


def draw_progress(rows: Sequence[dict[str, float]], scores: Sequence[str], path: Path) -> None:
    """Draw loss and scores over the epochs.

    Args:
        rows: one per epoch with "epoch", "loss" and each of `scores` (where validated).
        scores: names of the scores to draw, in [0, 1].
        path: of the PNG file.
    """
    figure, (left, right) = _figure(ncols=2, figsize=(11, 4))
    epochs = [row["epoch"] for row in rows if "loss" in row]
    left.plot(epochs, [row["loss"] for row in rows if "loss" in row], color="tab:red")
    left.set(xlabel="epoch", ylabel="weighted cross entropy", title="training loss")
    for name in scores:
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        right.plot(*zip(*points, strict=True), label=name, marker=".") if points else None
    right.set(xlabel="epoch", ylim=(0, 1), title="validation")
    right.grid(alpha=0.3)
    if scores:
        right.legend(loc="center right")
    figure.subplots_adjust(0.06, 0.13, 0.98, 0.92)
    _save(figure, path)


def _colour_instances(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Give each positive id its own colour, background black; [H, W] -> [H, W, 3]."""
    # Multiplicative hashing spreads neighbouring ids over the colours.
    ids = labels.astype(np.uint64)
    hue = (ids * np.uint64(2654435761)) % np.uint64(2**32)
    channels = [(hue >> np.uint64(shift)) % np.uint64(176) + np.uint64(80) for shift in (0, 9, 18)]
    return np.where(labels[..., None] > 0, np.stack(channels, -1), 0).astype(np.uint8)


def draw_preview(
    image: NDArray[Any],
    truth: NDArray[Any],
    prediction: NDArray[Any],
    probability: NDArray[Any],
    weights: NDArray[Any],
    path: Path,
) -> None:
    """Draw what the network sees, should say, says, and what its mistakes cost.

    Args:
        image: [C, H, W]; the first channel is drawn.
        truth: [H, W] instance ids or classes.
        prediction: [H, W] of the same kind.
        probability: [H, W] of the foreground, in [0, 1].
        weights: [H, W] weight map of the loss.
        path: of the PNG file.
    """
    low, high = np.percentile(image[0], [0.5, 99.5])
    panels = [
        ("image", image[0], {"cmap": "gray", "vmin": low, "vmax": max(high, low + 1e-6)}),
        ("truth", _colour_instances(truth), {}),
        ("prediction", _colour_instances(prediction), {}),
        ("foreground probability", probability, {"cmap": "magma", "vmin": 0, "vmax": 1}),
        ("weight map", weights, {"cmap": "viridis", "vmin": 0}),
    ]
    figure, axes = _figure(ncols=len(panels), figsize=(3.4 * len(panels), 3.8))
    for axis, (title, picture, options) in zip(axes, panels, strict=True):
        shown = axis.imshow(picture, interpolation="nearest", **options)
        axis.set_title(title)
        axis.axis("off")
        if title == "weight map":
            figure.colorbar(shown, ax=axis, fraction=0.046)
    figure.subplots_adjust(0.01, 0.02, 0.97, 0.92, wspace=0.05)
    _save(figure, path)
