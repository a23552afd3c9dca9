"""Train a U-Net: `python -m unet_fast.train [--data DIR]`.

Without --data it trains on a set of drawn cells. A run folder keeps the configuration, the metrics, pictures,
checkpoints and the best network; `--resume FOLDER` goes on with it.
"""

import json
import platform
import signal
import sys
from dataclasses import fields
from datetime import datetime
from pathlib import Path

import torch
from jsonargparse import ArgumentParser

from unet_fast import __version__
from unet_fast.atomic_write import atomic_write
from unet_fast.config import TrainConfig
from unet_fast.data import LabelledImages, load_folder, synthetic_cells
from unet_fast.ops import build_info
from unet_fast.trainer import Trainer


def make_parser() -> ArgumentParser:
    """Return the parser of the command line: the fields of TrainConfig, a YAML file of them, and --resume."""
    parser = ArgumentParser(prog="python -m unet_fast.train", description="Train a U-Net.")
    parser.add_argument("--config", action="config", help="YAML file of these settings; a run's config.yaml")
    parser.add_argument(
        "--resume", type=Path, help="folder of a run to go on with; its settings hold unless given again"
    )
    parser.add_class_arguments(TrainConfig)
    return parser


def parse(arguments: list[str]) -> tuple[TrainConfig, str, bool]:
    """Return the configuration, its YAML text, and whether a run is to be resumed."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    run: Path | None = parsed.resume
    if run is not None:
        saved = run / "config.yaml"
        if not saved.is_file():
            raise FileNotFoundError(f"resume: wanted the folder of a run with config.yaml, got {run}")
        parsed = parser.parse_args(["--config", str(saved), *arguments])
        parsed.out = run
    settings = parser.instantiate(parsed)
    config = TrainConfig(**{field.name: settings[field.name] for field in fields(TrainConfig)})
    config.check()
    if config.out is None:
        name = config.data.absolute().name if config.data else "synthetic"
        config.out = parsed.out = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for name in ("config", "resume"):
        parsed.pop(name)
    return config, parser.dump(parsed, skip_validation=True), run is not None


def load_images(config: TrainConfig) -> LabelledImages:
    """Return the labelled images that the configuration names."""
    if config.data is None:
        return synthetic_cells()
    return load_folder(config.data, label_kind=None if config.label_kind == "auto" else config.label_kind)


def describe_machine() -> dict[str, str]:
    """Return what a result depends on besides the configuration."""
    build = build_info()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "unet_fast": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device,
        "instruction_set": build.instruction_set,
        "threads": str(torch.get_num_threads()),
    }


def run(config: TrainConfig, text: str, resume: bool) -> Path:
    """Train as configured and return the folder of the run."""
    assert config.out is not None
    out = config.out
    if not resume and (out / "checkpoint_last.pt").exists():
        raise FileExistsError(f"out: {out} holds a run already: give another folder, or --resume {out}")
    if config.threads:
        torch.set_num_threads(config.threads)
    images = load_images(config)
    print(images.report())
    trainer = Trainer(config, images, out)
    if resume:
        trainer.resume()
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (("config.yaml", text), ("env.json", json.dumps(describe_machine(), indent=2) + "\n")):
        with atomic_write(out / name) as temporary:
            temporary.write_text(content)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, trainer.stop_at_signal)
    print(trainer.describe())
    trainer.fit()
    return out


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        out = run(*parse(sys.argv[1:] if arguments is None else arguments))
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"done: everything is in {out}: progress.png, preview/, metrics.csv, model.safetensors\n"
        f"segment images:  python -m unet_fast.predict -i IMAGES -o RESULTS -m {out}\n"
        f"train on:        python -m unet_fast.train --resume {out} --epochs N"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
