"""Mirror against zero border (section 2, the overlap-tile strategy): what the network is shown beyond the image."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.paper import experiment
from unet_fast.checkpoint import Model
from unet_fast.data.images import Image
from unet_fast.geometry import legal_side

STRIPS = ((0, 8), (8, 23), (23, 46), (46, 92), (92, None))  # distances from the image's border in pixels


def predict_with_zeros(model: Model, image: Image) -> np.ndarray:
    """Predict the foreground [H, W] of an image [C, H, W] with zeros beyond its border, in one pass."""
    scale, offset = model.normalization.scale_and_offset(image)
    sides, (height, width) = model.net.sides, image.shape[1:]
    before = sides.border // 2
    after = [legal_side(side, sides) - side - before for side in (height, width)]
    pixels = image.astype(np.float32) * scale[:, None, None] + offset[:, None, None]
    padded = np.pad(pixels, ((0, 0), (before, after[0]), (before, after[1])))
    net = model.net.eval()
    with torch.inference_mode():
        tile = torch.from_numpy(padded[None]).to(next(net.parameters()).device)
        found = net(tile).float().softmax(1)[0, 0, :height, :width]
    return 1 - found.cpu().numpy()


def wrong_by_distance(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> list[float]:
    """Return the share of wrong pixels in each strip."""
    wrong, count = np.zeros(len(STRIPS)), np.zeros(len(STRIPS))
    for mask, one in zip(truth, found, strict=True):
        ys, xs = (np.minimum(np.arange(side), np.arange(side)[::-1]) for side in mask.shape)
        distance = np.minimum(ys[:, None], xs)
        for i, (first, end) in enumerate(STRIPS):
            strip = (distance >= first) & (distance < (end or np.inf))
            wrong[i] += ((one > 0.5) != (mask > 0))[strip].sum()
            count[i] += strip.sum()
    return [w / c if c else math.nan for w, c in zip(wrong, count, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options, size = experiment.parse(experiment.command_line(__doc__), arguments)
    images = experiment.split(options)
    columns = {
        f"strip{i}": (f"{first} to {end} px" if end else f"from {first} px", ".4f")
        for i, (first, end) in enumerate(STRIPS)
    }
    table = experiment.Table(
        f"What lies beyond the border, on {options.data.name}",
        {"way": ("border", ""), **columns, **experiment.score_columns(images[1])},
        notes=[
            *experiment.notes(options, "border", images),
            f"One network, trained for {size.steps} steps on mirrored tiles. Columns in px: the share of wrong pixels "
            "at this distance from the border of the image.",
        ],
    )
    model = experiment.train(images[0], options, size)
    truth = [images[1].target(i) for i in range(len(images[1]))]
    zeros = [predict_with_zeros(model, image) for image in images[1].images]
    for way, found in (("mirror", experiment.probabilities(model, images[1])), ("zero", zeros)):
        strips = dict(zip(columns, wrong_by_distance(truth, found), strict=True))
        table.add({"way": way, **strips, **experiment.scores(images[1], found)})
    panels = [(key, f"wrong pixels, {heading}") for key, (heading, _) in columns.items()][:4]
    table.write(options.output, experiment.draw_bars("way", *panels))


if __name__ == "__main__":
    main()
