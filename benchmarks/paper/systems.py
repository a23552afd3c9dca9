"""All systems on one data set: accuracy, time for an image and parameters (tables 1 and 2 of the paper).

Each is trained for the same time. The sliding window appears twice: window by window, as in 2012, and computed densely,
which gives the same scores.
"""

import time
from collections.abc import Sequence

import torch

from benchmarks.paper import experiment
from unet_fast.baselines import SlidingWindow

MODELS = ("unet", "sliding_window", "fcn8s", "fcn16s", "fcn32s")
_WINDOWS = 1024  # that are timed one by one


def seconds_one_by_one(net: SlidingWindow) -> float:
    """Return the seconds for all windows of a 512x512 image, reckoned from the time of a strip of them."""
    strip = torch.rand(1, net.channels, net.window, net.window - 1 + _WINDOWS, device=next(net.parameters()).device)
    with torch.inference_mode():
        net.slide(strip[..., : net.window + 255])
        start = time.perf_counter()
        net.slide(strip).cpu()
    return (time.perf_counter() - start) * experiment.TIMED_SIDE**2 / _WINDOWS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = experiment.command_line(__doc__)
    parser.add_argument("--systems", nargs="+", choices=MODELS, default=MODELS, help="those that run; default all")
    options, size = experiment.parse(parser, arguments)
    images = experiment.split(options)
    table = experiment.Table(
        f"The systems of the paper on {options.data.name}",
        {"system": ("system", ""), **experiment.score_columns(images[1]), "seconds": ("s per 512x512", ".3f")}
        | {"parameters": ("parameters", ",d")},
        notes=[
            *experiment.notes(options, "systems", images),
            f"Each network was trained for {size.minutes:g} minutes, the U-Net with its weight map, the others with "
            f"balanced classes. The time of single windows is that of {_WINDOWS} windows times "
            f"{experiment.TIMED_SIDE**2 // _WINDOWS}; its scores are those of the dense one.",
        ],
    )
    for kind in options.systems:
        model = experiment.train(images[0], options, size, timed=True, model=kind)
        found = experiment.scores(images[1], experiment.probabilities(model, images[1]))
        row = {"system": kind, **found, "parameters": experiment.parameters(model)}
        if isinstance(model.net, SlidingWindow):
            table.add(row | {"system": "sliding_window, one by one", "seconds": seconds_one_by_one(model.net)})
            row["system"] = "sliding_window, dense"
        table.add(row | {"seconds": experiment.seconds(model)})
    panels = [*experiment.score_panels(images[1]), ("seconds", "seconds per 512x512 (log)")]
    table.write(options.output, experiment.draw_bars("system", *panels))


if __name__ == "__main__":
    main()
