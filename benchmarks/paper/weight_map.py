"""The weight map's border term on and off (section 3, equation 2): it keeps touching cells apart."""

from collections.abc import Sequence

from benchmarks.paper import experiment
from unet_fast.data import LabelledImages
from unet_fast.instances import label_instances
from unet_fast.metrics import ctc

WAYS = {
    "w0 = 10 (paper)": {"border": 10.0},
    "no border term": {"border": 0.0},
    "no border term, no gap cut": {"border": 0.0, "gap": "none"},
}


def merged_ceiling(images: LabelledImages) -> float:
    """Return SEG of the true foreground when touching cells are one: the best without keeping them apart."""
    instances = [labels.clip(0) for labels in images.instances]
    return ctc.seg(instances, [label_instances(labels > 0, gap=0) for labels in instances])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options, size = experiment.parse(experiment.command_line(__doc__), arguments)
    images = experiment.split(options)
    if images[0].label_kind == "mask":
        raise SystemExit(f"error: data: wanted labels that number the cells, got masks in {options.data}")
    table = experiment.Table(
        f"The weight map on {options.data.name}",
        {"way": ("weights", ""), **experiment.score_columns(images[1])},
        notes=[
            *experiment.notes(options, "weight_map", images),
            f"The same network, trained for {size.steps} steps on the same tiles; classes are always balanced.",
        ],
    )
    for way, settings in WAYS.items():
        model = experiment.train(images[0], options, size, **settings)
        table.add({"way": way, **experiment.scores(images[1], experiment.probabilities(model, images[1]))})
    table.add(
        {"way": "true foreground, touching cells merged", "seg": merged_ceiling(images[1]), "iou": 1.0, "wrong": 0.0}
    )
    table.write(options.output, experiment.draw_bars("way", *experiment.score_panels(images[1])))


if __name__ == "__main__":
    main()
