"""One step: the gradients of a weighted loss over all tiles of a step, in parts and processes, and the move they make.

The loss is divided by the sum of the weights of the whole step, which is known before the first part is computed. So
neither the number of parts nor that of processes changes the step but for rounding.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor

from unet_fast.config import TrainConfig
from unet_fast.data import IGNORED_CLASS
from unet_fast.loss import weighted_cross_entropy
from unet_fast.networks import Network
from unet_fast.samples import Batch
from unet_fast.trainer.optimization import MovingAverage, make_optimizer
from unet_fast.trainer.precision import DTYPES, Precision, make_scaler
from unet_fast.trainer.processes import Processes


class Step:
    """What changes a network's weights.

    Args:
        net: to train, on its device.
        config: of the run.
        precision: in which the network computes.
        processes: that share each step.

    Raises:
        ValueError: the tiles of a step cannot be shared out evenly.
    """

    def __init__(self, net: Network, config: TrainConfig, precision: Precision, processes: Processes) -> None:
        shares = processes.count * config.accumulate
        if config.batch_size % shares:
            raise ValueError(
                f"batch_size: wanted a multiple of {shares} ({processes.count} processes, {config.accumulate} parts), "
                f"got {config.batch_size}"
            )
        self.net, self.config, self.precision, self.processes = net, config, precision, processes
        self.shared = processes.share(net)
        self.optimizer = make_optimizer(net, config)
        self.scaler = make_scaler(precision, processes.device)
        self.average = MovingAverage(net, config.ema) if config.ema else None
        self.rate = config.lr

    @property
    def averaged(self) -> Network:
        """The network to validate and to keep."""
        return self.net if self.average is None else cast("Network", self.average.net)

    def gradients(self, batches: Sequence[Batch], dropout_seeds: Sequence[Sequence[int]]) -> float:
        """Compute the gradients of a step and return its loss, both over all parts and processes.

        Args:
            batches: the parts of this process.
            dropout_seeds: a seed for each tile of each part.
        """
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        weight = self.processes.sum(torch.stack([_weight(batch) for batch in batches]).sum())
        # Processes average their gradients, where a sum is wanted.
        scale = (self.processes.count / weight.clamp(min=torch.finfo(torch.float32).tiny)).float()
        total = torch.zeros((), dtype=torch.float64, device=self.processes.device)
        for i, (batch, seeds) in enumerate(zip(batches, dropout_seeds, strict=True)):
            last = i == len(batches) - 1
            with nullcontext() if last or self.shared is self.net else self.shared.no_sync():  # type: ignore[operator]
                scores = self.shared(batch.image.to(DTYPES[self.precision]), list(seeds)).float()
                loss = scale * weighted_cross_entropy(
                    scores, batch.classes, batch.weights, normalization="sum", backend=self.config.backend
                )
                self.scaler.scale(loss).backward()
                total += loss.detach()
        return float(self.processes.sum(total)) / self.processes.count  # the one place that waits for the device

    def update(self, rate: float, step: int) -> None:
        """Move the weights along the gradients.

        Args:
            rate: learning rate.
            step: number of the step since the start of the run, from 0.
        """
        self.rate = rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.net, step)


def _weight(batch: Batch) -> Tensor:
    """Return the sum of the weights of the pixels that count, float64."""
    return batch.weights.where(batch.classes != IGNORED_CLASS, 0).sum(dtype=torch.float64)
