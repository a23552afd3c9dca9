"""Elastic augmentation on and off (section 3.1): it matters most with few training images (see --training-images)."""

from collections.abc import Sequence

from benchmarks.paper import experiment
from unet_fast.augment import AugmentConfig

WAYS = {
    "all of it": AugmentConfig(),
    "without elastic": AugmentConfig(elastic=0.0),
    "elastic alone": AugmentConfig(rotation=0.0, rot90=False, flip=False, contrast=1.0, brightness=0.0),
    "none": AugmentConfig(enabled=False),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options, size = experiment.parse(experiment.command_line(__doc__), arguments)
    images = experiment.split(options)
    table = experiment.Table(
        f"Augmentation on {options.data.name}",
        {"way": ("augmentation", ""), **experiment.score_columns(images[1])},
        notes=[
            *experiment.notes(options, "elastic", images),
            f"The same network, trained for {size.steps} steps each time.",
        ],
    )
    for way, augment in WAYS.items():
        model = experiment.train(images[0], options, size, augment=augment)
        table.add({"way": way, **experiment.scores(images[1], experiment.probabilities(model, images[1]))})
    table.write(options.output, experiment.draw_bars("way", *experiment.score_panels(images[1])))


if __name__ == "__main__":
    main()
