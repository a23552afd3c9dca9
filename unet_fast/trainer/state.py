"""Where a run stands, and the checkpoints that keep it.

Weights, moments, average and loss scale belong to `Step`; what is left is a position, the scores so far, and the names
of the images. No state of a random generator is needed: numbers come from (seed, epoch, number of the sample).
"""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from unet_fast.checkpoint import load_checkpoint, save_checkpoint
from unet_fast.config import TrainConfig
from unet_fast.trainer.optimization import load_optimizer
from unet_fast.trainer.step import Step

# What the weights and moments of a checkpoint depend on.
_FIXED = ("base", "depth", "variant", "optimizer", "ema")


@dataclass
class State:
    """Position and record of a run.

    Attributes:
        images: names of the training images.
        epoch: whole epochs done.
        step: steps done of the next one.
        loss_sum: over these steps.
        best: the best value so far of what decides, higher is better; -inf before the first.
        validations_since_best: how many found nothing better.
        rows: of metrics.csv.
        hours: of training, over all sittings.
    """

    images: list[str]
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = float("-inf")
    validations_since_best: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    hours: float = 0.0

    def save(self, path: Path, step: Step, config: TrainConfig) -> None:
        """Write all that is needed to go on, whole or not at all."""
        content = {
            "config": config.to_dict(),
            "state": asdict(self),
            "net": step.net.state_dict(),
            "average": step.average and step.average.net.state_dict(),
            "optimizer": step.optimizer.state_dict(),
            "scaler": step.scaler.state_dict(),
        }
        save_checkpoint(path, content)

    def load(self, path: Path, step: Step, config: TrainConfig) -> list[str]:
        """Take over what a checkpoint holds.

        Returns:
            Which settings differ from those that it was written with.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is no checkpoint of this package, or not of this network, these images or this optimiser.
        """
        content = load_checkpoint(path)
        try:
            old = content["config"]
            for name in _FIXED:
                if old[name] != getattr(config, name):
                    raise ValueError(
                        f"{name} is {old[name]} there, {getattr(config, name)} here; a new run can start from its "
                        f"weights: --init {path.parent}"
                    )
            if content["state"]["images"] != self.images:
                raise ValueError(f"it was trained on other images: {len(content['state']['images'])} of them")
            step.net.load_state_dict(content["net"])
            if step.average is not None:
                step.average.net.load_state_dict(content["average"])
            load_optimizer(step.optimizer, content["optimizer"])
            if content["scaler"]:
                step.scaler.load_state_dict(content["scaler"])
            for each in fields(self):
                setattr(self, each.name, content["state"][each.name])
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"resume: cannot go on from {path}: {error}") from error
        return [f"{name}: {old[name]} -> {new}" for name, new in config.to_dict().items() if old.get(name) != new]
