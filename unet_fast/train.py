"""Train a U-Net: `python -m unet_fast.train [--data DIR]`; `torchrun --nproc-per-node N -m unet_fast.train --out RUN`.

Without --data it trains on a set of drawn cells. A run folder keeps the configuration, the metrics, pictures,
checkpoints and the best network; `--resume FOLDER` goes on with it.
"""

import argparse
import json
import platform
import re
import signal
import sys
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from unet_fast import __version__
from unet_fast.atomic_write import atomic_write
from unet_fast.config import PRESETS, TrainConfig
from unet_fast.data import LabelledImages, load_folder, synthetic_cells
from unet_fast.ops import build_info
from unet_fast.prediction.memory import is_memory_short
from unet_fast.trainer import Trainer

_RESUME = (
    "run to go on with: its folder, or one of its checkpoint files; its settings hold unless given again. "
    '"auto": go on with the run in --out if there is one, else start it'
)


def make_parser(preset: str = TrainConfig.preset) -> ArgumentParser:
    """Return the parser of the command line: the fields of TrainConfig, a YAML file of them, and --resume.

    Raises:
        ValueError: there is no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset: wanted {' or '.join(PRESETS)}, got {preset!r}")
    parser = ArgumentParser(prog="python -m unet_fast.train", description="Train a U-Net.", exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file of these settings; a run's config.yaml")
    parser.add_argument("--resume", type=str, help=_RESUME)
    parser.add_class_arguments(TrainConfig)
    parser.set_defaults(preset=preset, **PRESETS[preset])
    return parser


def parse(arguments: list[str]) -> tuple[TrainConfig, str, Path | None]:
    """Return the configuration, its YAML text, and the checkpoint to go on from, if any."""
    arguments = [_with_underscores(argument) for argument in arguments]
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=None)
    for name in ("--preset", "--config", "--resume", "--out"):
        peek.add_argument(name)
    known = peek.parse_known_args(arguments)[0]
    checkpoint = _checkpoint(known.resume, known.out)
    files = [known.config] if known.config else []
    if checkpoint is not None:
        saved = checkpoint.parent / "config.yaml"
        if not saved.is_file():
            raise FileNotFoundError(f"resume: wanted the folder of a run with config.yaml, got {checkpoint.parent}")
        arguments, files = ["--config", str(saved), *arguments], [str(saved), *files]
    parser = make_parser(known.preset or _preset_of(files))
    parsed = parser.parse_args(arguments)
    if checkpoint is not None:
        parsed.out = checkpoint.parent
    settings = parser.instantiate(parsed)
    config = TrainConfig(**{field.name: settings[field.name] for field in fields(TrainConfig)})
    config.check()
    if config.out is None:
        if dist.is_torchelastic_launched():
            raise ValueError("out: with torchrun, wanted a folder, so that all processes, and a restart, find the run")
        name = config.data.absolute().name if config.data else "synthetic"
        config.out = parsed.out = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for name in ("config", "resume"):
        parsed.pop(name)
    return config, parser.dump(parsed, skip_validation=True), checkpoint


def _with_underscores(argument: str) -> str:
    """Return --batch-size as --batch_size: both are understood."""
    return re.sub(r"^--[\w.-]+", lambda name: "--" + name[0][2:].replace("-", "_"), argument)


def _checkpoint(resume: str | None, out: str | None) -> Path | None:
    """Return the checkpoint that --resume means."""
    if resume is None:
        return None
    if resume != "auto":
        return Path(resume) if Path(resume).is_file() else Path(resume) / "checkpoint_last.pt"
    if out is None:
        raise ValueError("resume: auto: wanted --out RUN beside it, the folder of the run")
    last = Path(out) / "checkpoint_last.pt"
    return last if last.is_file() else None


def _preset_of(files: list[str]) -> str:
    """Return the preset that configuration files name."""
    settings: dict[str, Any] = {}
    for file in files:
        if Path(file).is_file():
            content = yaml.safe_load(Path(file).read_text())
            settings |= content if isinstance(content, dict) else {}
    return str(settings.get("preset", TrainConfig.preset))


def load_images(config: TrainConfig) -> LabelledImages:
    """Return the labelled images that the configuration names."""
    if config.data is None:
        return synthetic_cells()
    kind = None if config.label_kind == "auto" else config.label_kind
    return load_folder(config.data, label_kind=kind, ignore=config.ignore)


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


def run(config: TrainConfig, text: str, checkpoint: Path | None) -> Trainer:
    """Train as configured; returns the trainer when it has ended."""
    assert config.out is not None
    out = config.out
    if checkpoint is None and (out / "checkpoint_last.pt").exists():
        raise FileExistsError(f"out: {out} holds a run already: give another folder, or --resume {out}")
    if config.threads:
        torch.set_num_threads(config.threads)
    images = load_images(config)
    trainer = Trainer(config, images, out)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, trainer.stop_at_signal)
    if checkpoint is not None:
        trainer.resume(checkpoint)
    if trainer.processes.first:
        print(images.report())
        print(trainer.describe(), flush=True)
        out.mkdir(parents=True, exist_ok=True)
        for name, content in (("config.yaml", text), ("env.json", json.dumps(describe_machine(), indent=2) + "\n")):
            with atomic_write(out / name) as temporary:
                temporary.write_text(content)
    trainer.fit()
    trainer.processes.leave()
    return trainer


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        trainer = run(*parse(sys.argv[1:] if arguments is None else arguments))
    except ArgumentError as error:
        print(f"error: {error}\nall settings: python -m unet_fast.train --help", file=sys.stderr)
        return 1
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not is_memory_short(error):
            raise
        advice = "a smaller --tile or --base, --gradient_checkpointing true, or more parts of a step by --accumulate"
        print(f"error: memory is short for this training: {advice}", file=sys.stderr)
        return 1
    if trainer.processes.first:
        print(_farewell(trainer))
    return 0


def _farewell(trainer: Trainer) -> str:
    """Say where the results lie and how to go on."""
    out = trainer.out
    if trainer.stopping:
        return f"stopped: the checkpoint is in {out}\ngo on with:  python -m unet_fast.train --resume {out}"
    return (
        f"done: everything is in {out}: progress.png, preview/, metrics.csv, model.safetensors\n"
        f"segment images:  python -m unet_fast.predict -i IMAGES -o RESULTS -m {out}\n"
        f"train on:        python -m unet_fast.train --resume {out} --epochs N"
    )


if __name__ == "__main__":
    sys.exit(main())
