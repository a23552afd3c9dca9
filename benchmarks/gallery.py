"""The pictures of the README, made by the package itself from drawn cells.

    python -m unet_fast.train --out run
    python -m benchmarks.gallery run --output benchmarks/results/gallery

writes cells.png: an image, what a trained network makes of it, the weight map of its labels, and the deformation of the
augmentation on a grid; and copies the run's progress.png beside it.
"""

import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from unet_fast import ops
from unet_fast.augment import identity_warp
from unet_fast.checkpoint import load_model
from unet_fast.data import synthetic_cells
from unet_fast.instances import label_instances
from unet_fast.plots import colour_instances
from unet_fast.predict import predict

SIDE = 320  # pixels
GRID = 16  # pixels between two lines


def deformed(image: torch.Tensor, labels: torch.Tensor, seed: int) -> np.ndarray:
    """Warp an image [1, H, W] with a grid drawn on it by the paper's 3x3 grid of displacements, 10 pixels each."""
    drawn = image.float() / 255
    drawn[..., ::GRID, :], drawn[..., :, ::GRID] = 1, 1
    displacement = 10 * torch.randn((1, 2, 3, 3), generator=torch.Generator().manual_seed(seed))
    warp = identity_warp(torch.zeros(1, 2, dtype=torch.int64))._replace(displacement=displacement)
    return ops.elastic_warp(drawn[None], labels[None], warp, SIDE)[0][0, 0].numpy()


def draw(run: Path, file: Path) -> None:
    """Draw the panels for a trained network."""
    model = load_model(run)
    cells = synthetic_cells(1, SIDE, seed=99)  # training draws seed 0
    image, labels = cells.images[0], cells.instances[0]
    probabilities = predict(model.net, image, probabilities=True, normalization=model.normalization)
    objects = label_instances(probabilities.argmax(0) > 0)
    weights = ops.weight_map(torch.from_numpy(labels)[None], torch.tensor([1.0, 1.0]), 10.0, 5.0)[0].numpy()
    panels = [
        ("image", image[0], "gray"),
        ("foreground probability", probabilities[1], "magma"),
        ("objects", colour_instances(objects), None),
        ("weight map of the truth", weights, "viridis"),
        ("elastic deformation", deformed(torch.from_numpy(image), torch.from_numpy(labels), seed=3), "gray"),
    ]
    figure = Figure(figsize=(3 * len(panels), 3.3))
    for axes, (title, picture, colours) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.imshow(picture, cmap=colours, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    figure.savefig(file, dpi=80, bbox_inches="tight")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = ArgumentParser(prog="python -m benchmarks.gallery", description="Draw the pictures of the README.")
    parser.add_argument("run", type=Path, help="run folder of python -m unet_fast.train")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    draw(options.run, options.output / "cells.png")
    shutil.copyfile(options.run / "progress.png", options.output / "progress.png")
    print(f"wrote cells.png and progress.png into {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
