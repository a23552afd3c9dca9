"""What a training run can be told: one dataclass, the same fields on the command line and in config.yaml."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from unet_fast.augment import AugmentConfig

Score = Literal["auto", "seg", "iou", "rand_error", "pixel_error"]

# Values of TrainConfig's fields that a preset sets; what is given beside it wins. "paper" is the defaults themselves:
# section 3, one tile per step, SGD with momentum 0.99. The paper gives no learning rate. In a first run (the drawn
# cells, base 16, one tile of 316 a step) the IoU after 1280 steps is 0.79 to 0.90 at 3e-3 (three seeds), 0.69 and 0.84
# at 2e-3; at 5e-3, reached over 100 steps, neither of two seeds learned. Adam reaches 0.92 (two seeds) after 640
# steps. Shorter runs of base 8 (three seeds each, benchmarks/results/2026-11-25-learning-rates): SGD learns at 1e-3
# and 3e-3, not at 3e-4 and 1e-2; Adam is best at 2e-3, where every seed learns. Averaged weights, steps of four tiles
# and a warmup did not help in so short a time. A wider network wants less: at base 32 (usiigaci, tiles of 476) Adam at
# 1.5e-3 left what it had learned after 600 steps, for good.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "modern": {"optimizer": "adam", "lr": 2e-3, "momentum": 0.9, "schedule": "cosine"},
}


@dataclass
class TrainConfig:
    """Train a U-Net.

    Args:
        data: folder of labelled images, read as it is (ISBI stacks, Cell Tracking Challenge, image and mask pairs,
            nnU-Net); without it, an embedded set of drawn cells.
        out: folder of the run, made where missing; default runs/NAME-DATE.
        init: start from the weights of this model (a run folder or a model.safetensors file); layers that do not fit
            another number of channels or classes start anew.
        epochs: passes over the training images; default 20 unless steps or hours are given. Limits count from the
            run's start, however often it was resumed; the first one reached ends it.
        steps: stop after this many steps.
        hours: stop after this many hours.
        patience: stop after this many validations without a better score; default never.
        score: what decides which network is best; "auto" is seg for instances, else iou.
        preset: "paper" is section 3: SGD with momentum 0.99, one tile per step; "modern" reaches a given score sooner:
            Adam at 2e-3, falling along a cosine.
        model: "unet", or a baseline of the paper: "sliding_window" (Ciresan's patch classifier), "fcn8s", "fcn16s" or
            "fcn32s" (Long's fully convolutional networks).
        base: feature channels of the first level, 64 in the paper. Thin networks (8 to 16) suit a CPU.
        depth: levels of the U-Net's contracting path, 4 in the paper.
        window: of the sliding window in pixels: 33, 65 or 95.
        variant: the U-Net of the paper, or that of the authors' released model.
        backend: "native" for this package's operators, "torch" for plain PyTorch.
        dropout: probability at the end of the contracting path, 0.5 in the released model.
        optimizer: "sgd" with momentum, or "adam" (AdamW where weight_decay is above 0).
        lr: learning rate; a network wider than base 16 may want less with Adam.
        momentum: of SGD; the first beta of Adam.
        weight_decay: decoupled decay of the weights for Adam, an L2 term for SGD.
        schedule: the learning rate is constant, or falls to zero along a cosine until the run's end.
        warmup: steps over which the learning rate rises to its value.
        ema: decay of the moving average of the weights that is validated and saved; 0 switches it off.
        tile: input side of a training tile in pixels, a legal one (16k + 60 for the U-Net); 572 in the
            paper.
        batch_size: tiles per step, over all processes; 1 in the paper.
        accumulate: compute a step in this many parts, one after the other: less memory, the same step.
        border: weight of the border between touching cells, w0 = 10 in the paper; 0 switches the term off.
        sigma: its width in pixels, 5 in the paper.
        gap: ridge of background cut between touching cells: "scan" is one pixel, "full8" two, "none" none.
        class_weight: "balance" weighs classes by inverse frequency, "none" all alike; or a weight for each class.
        normalization: of each image: "percentile" (1 to 99.8 becomes 0 to 1), "zscore", "dtype" (divides by the
            largest value, fixed) or "none"; stored with the model.
        label_kind: what label images mean; "auto" tells from their values, and says what it found.
        ignore: value in the label images of pixels that count for nothing.
        augment: how training tiles are deformed.
        validation: share of the images held back for validation; 0 for none.
        fold: hold back fold K of N instead, such as "1/5".
        validate_every: epochs between validations.
        seed: of everything random.
        device: "cpu", "cuda" or "auto".
        precision: in which the network computes: "float32", "tf32", "bf16" or "fp16" (with a scaled loss); "auto" is
            bf16 on CUDA from Ampere on, else float32. Weights and loss stay float32.
        deterministic: the same bits on CUDA too, at some cost in speed (with backend torch, torch asks for the variable
            CUBLAS_WORKSPACE_CONFIG=:4096:8); a CPU needs no such thing.
        gradient_checkpointing: compute activations again in the backward pass, for tiles that would not fit in memory.
        checkpoint_minutes: minutes between checkpoints within an epoch; one is written after each epoch anyway.
        tensorboard: also write the curves for TensorBoard.
        threads: CPU threads; default torch's.
    """

    data: Path | None = None
    out: Path | None = None
    init: Path | None = None
    epochs: int | None = None
    steps: int | None = None
    hours: float | None = None
    patience: int | None = None
    score: Score = "auto"
    preset: Literal["paper", "modern"] = "paper"
    model: Literal["unet", "sliding_window", "fcn8s", "fcn16s", "fcn32s"] = "unet"
    base: int = 16
    depth: int = 4
    window: int = 95
    variant: Literal["paper", "release2015"] = "paper"
    backend: Literal["native", "torch"] = "native"
    dropout: float = 0.5
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = 3e-3
    momentum: float = 0.99
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    ema: float = 0.0
    tile: int = 316
    batch_size: int = 1
    accumulate: int = 1
    border: float = 10.0
    sigma: float = 5.0
    gap: Literal["scan", "full8", "none"] = "scan"
    class_weight: Literal["balance", "none"] | list[float] = "balance"
    normalization: Literal["percentile", "zscore", "dtype", "none"] = "percentile"
    label_kind: Literal["auto", "instances", "mask", "classes", "freiburg"] = "auto"
    ignore: int | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: float = 0.2
    fold: str | None = None
    validate_every: int = 1
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "float32", "tf32", "bf16", "fp16"] = "auto"
    deterministic: bool = False
    gradient_checkpointing: bool = False
    checkpoint_minutes: float = 10.0
    tensorboard: bool = False
    threads: int | None = None

    def check(self) -> None:
        """Raise ValueError where a value is out of range; what the data decide is checked with the data."""
        positive = ("epochs", "steps", "hours", "patience", "lr", "batch_size", "accumulate", "validate_every")
        for name in (*positive, "checkpoint_minutes", "threads", "sigma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}: wanted a positive number, got {value}")
        for name in ("border", "weight_decay", "warmup", "seed"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}: wanted 0 or a positive number, got {value}")
        for name in ("validation", "momentum", "ema"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name}: wanted 0 to below 1, got {value}")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: wanted a divisor of batch_size = {self.batch_size}, got {self.accumulate}")
        self.fold_of()
        self.augment.check()

    def fold_of(self) -> tuple[int, int] | None:
        """Return fold and number of folds, counted from 0, or None without folds.

        Raises:
            ValueError: `fold` is not of the form K/N.
        """
        if self.fold is None:
            return None
        k, _, n = self.fold.partition("/")
        if not (k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n) and int(n) >= 2):
            raise ValueError(f'fold: wanted K/N with K from 1 to N, such as "1/5", got {self.fold!r}')
        return int(k) - 1, int(n)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
