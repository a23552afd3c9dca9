"""Window size against accuracy and time: the trade-off of context and localisation (section 1 of the paper)."""

from collections.abc import Sequence

from benchmarks.paper import experiment
from benchmarks.paper.systems import seconds_one_by_one
from unet_fast.baselines import SlidingWindow
from unet_fast.baselines.sliding_window import KERNELS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options, size = experiment.parse(experiment.command_line(__doc__), arguments)
    images = experiment.split(options)
    table = experiment.Table(
        f"The sliding window's size on {options.data.name}",
        {"window": ("window", ""), **experiment.score_columns(images[1]), "seconds": ("s per 512x512, dense", ".3f")}
        | {"one_by_one": ("s per 512x512, one by one", ".1f"), "parameters": ("parameters", ",d")},
        notes=[
            *experiment.notes(options, "window_size", images),
            f"Each was trained for {size.steps} steps of the same number of predicted pixels, which are patches.",
        ],
    )
    for window in sorted(KERNELS):
        tile = experiment.TILES["sliding_window"] - max(KERNELS) + window
        model = experiment.train(images[0], options, size, model="sliding_window", window=window, tile=tile)
        assert isinstance(model.net, SlidingWindow)
        row = experiment.scores(images[1], experiment.probabilities(model, images[1]))
        timed = {"seconds": experiment.seconds(model), "one_by_one": seconds_one_by_one(model.net)}
        table.add({"window": str(window), **row, **timed, "parameters": experiment.parameters(model)})
    panels = [*experiment.score_panels(images[1]), ("seconds", "seconds per 512x512, dense (log)")]
    table.write(options.output, experiment.draw_bars("window", *panels))


if __name__ == "__main__":
    main()
