"""What a training run can be told: one dataclass, the same fields on the command line and in config.yaml."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from unet_fast.augment import AugmentConfig


class Preset(NamedTuple):
    """An optimiser and its settings.

    Attributes:
        optimizer: "sgd" or "adam".
        lr: learning rate.
        momentum: of SGD; the first beta of Adam.
        cosine: whether the learning rate falls to zero along a cosine.
    """

    optimizer: Literal["sgd", "adam"]
    lr: float
    momentum: float
    cosine: bool


# "paper": section 3; the paper gives the momentum and no learning rate.
# "modern" is ahead of "paper" in the first 150 steps on the embedded set (base 16, one seed); how long "paper" needs to
# catch up, and at which rate, is not measured.
PRESETS = {
    "paper": Preset("sgd", 1e-3, 0.99, cosine=False),
    "modern": Preset("adam", 2e-3, 0.9, cosine=True),
}


@dataclass
class TrainConfig:
    """Train a U-Net.

    Args:
        data: folder of labelled images, read as it is (ISBI stacks, Cell Tracking Challenge, image and mask pairs,
            nnU-Net); without it, an embedded set of drawn cells.
        out: folder of the run, made where missing; default runs/NAME-DATE.
        epochs: passes over the training images; default 10 unless steps or hours are given.
        steps: stop after this many steps.
        hours: stop after this many hours.
        patience: stop after this many validations without a better score; default never.
        base: feature channels of the first level, 64 in the paper. Thin networks (8 to 16) suit a CPU.
        depth: levels of the contracting path, 4 in the paper.
        variant: the network of the paper, or that of the authors' released model.
        backend: "native" for this package's operators, "torch" for plain PyTorch.
        dropout: probability at the end of the contracting path, 0.5 in the released model.
        preset: "modern" is Adam with a falling learning rate, "paper" SGD with momentum 0.99 as in section 3.
        lr: learning rate; default the preset's.
        tile: input side of a training tile in pixels, a legal one (16k + 60); 572 in the paper.
        batch_size: tiles per step, 1 in the paper.
        border: weight of the border between touching cells, w0 = 10 in the paper; 0 switches the term off.
        sigma: its width in pixels, 5 in the paper.
        gap: ridge of background cut between touching cells: "scan" is one pixel, "full8" two, "none" none.
        class_weight: "balance" weighs classes by inverse frequency, "none" all alike.
        normalization: of each image: "percentile" (1 to 99.8 becomes 0 to 1), "zscore", "dtype" or "none".
        label_kind: what label images mean; "auto" tells from their values, and says what it found.
        augment: how training tiles are deformed.
        validation: share of the images held back for validation.
        fold: hold back this fold of five instead.
        validate_every: epochs between validations.
        seed: of everything random.
        device: "cpu", "cuda" or "auto".
        precision: "float32" or "bfloat16", in which the network computes; weights and loss stay float32.
        threads: CPU threads; default torch's.
    """

    data: Path | None = None
    out: Path | None = None
    epochs: int | None = None
    steps: int | None = None
    hours: float | None = None
    patience: int | None = None
    base: int = 16
    depth: int = 4
    variant: Literal["paper", "release2015"] = "paper"
    backend: Literal["native", "torch"] = "native"
    dropout: float = 0.5
    preset: Literal["paper", "modern"] = "modern"
    lr: float | None = None
    tile: int = 316
    batch_size: int = 1
    border: float = 10.0
    sigma: float = 5.0
    gap: Literal["scan", "full8", "none"] = "scan"
    class_weight: Literal["balance", "none"] = "balance"
    normalization: Literal["percentile", "zscore", "dtype", "none"] = "percentile"
    label_kind: Literal["auto", "instances", "mask", "classes", "freiburg"] = "auto"
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: float = 0.2
    fold: int | None = None
    validate_every: int = 1
    seed: int = 0
    device: str = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = None

    def check(self) -> None:
        """Raise ValueError where a value is out of range; what the data decide is checked with the data."""
        positive = ("epochs", "steps", "hours", "patience", "lr", "batch_size", "validate_every", "threads", "sigma")
        for name in positive:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: wanted a positive number, got {value}")
        if self.border < 0:
            raise ValueError(f"border: wanted 0 or a positive number, got {self.border}")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: wanted a share between 0 and 1, got {self.validation}")
        self.augment.check()
        if self.fold is not None and not 0 <= self.fold < 5:
            raise ValueError(f"fold: wanted 0 to 4, got {self.fold}")
