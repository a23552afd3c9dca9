"""One step: the gradients of a weighted loss over all tiles of a step, in parts and processes, and the move they make.

The loss is divided by the sum of the weights of the whole step, which is known before the first part is computed. So
neither the number of parts nor that of processes changes the step but for rounding. Nothing in a step waits for the
device or looks at a value: on CUDA, one process takes it as one graph.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from unet_fast.config import TrainConfig
from unet_fast.data import IGNORED_CLASS
from unet_fast.graphs import Graphed, recorder_for
from unet_fast.loss import weighted_cross_entropy
from unet_fast.networks import Network
from unet_fast.ops import with_threads_awake
from unet_fast.precision import DTYPES, Precision, make_scaler
from unet_fast.samples import Batch
from unet_fast.trainer.optimization import MovingAverage, make_optimizer, set_rate
from unet_fast.trainer.processes import Processes
from unet_fast.transfers import on_device


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
        # Processes exchange gradients while they are computed, by hooks that a graph would not repeat.
        self._graphed = Graphed(self._take, recorder_for(processes.device) if processes.count == 1 else None)

    @property
    def averaged(self) -> Network:
        """The network to validate and to keep."""
        return self.net if self.average is None else cast("Network", self.average.net)

    @property
    def mode(self) -> str:
        """How steps are taken on CUDA, for the user to read."""
        if self.processes.device.type != "cuda":
            return ""
        if self.processes.count > 1:
            return ", kernel by kernel, as several processes have no CUDA graph"
        return ", a step is a CUDA graph"

    def take(self, batches: Sequence[Batch], dropout_seeds: Sequence[Sequence[int]], rate: float, step: int) -> Tensor:
        """Move the weights along the gradients of a step; where loss or gradient are not finite, nothing moves.

        Args:
            batches: the parts of this process.
            dropout_seeds: a seed for each tile of each part.
            rate: learning rate.
            step: number of the step since the start of the run, from 0.

        Returns:
            The loss over all parts and processes, float64 on the device, which may not have computed it yet; not
            finite where the gradient is not.
        """
        self.rate = rate
        set_rate(self.optimizer, rate)
        seeds = [on_device(torch.tensor(part), self.processes.device) for part in dropout_seeds]
        tensors = [tensor for batch, own in zip(batches, seeds, strict=True) for tensor in (*batch, own)]
        loss = self._graphed(*tensors)
        if self.average is not None:
            self.average.update(self.net, step)
        return loss

    def _take(self, *tensors: Tensor) -> Tensor:
        """Take the step of images, classes, weights and dropout seeds, part by part."""
        parts = [(Batch(*tensors[i : i + 3]), tensors[i + 3]) for i in range(0, len(tensors), 4)]
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        weight = self.processes.sum(torch.stack([_weight(batch) for batch, _ in parts]).sum())
        # Processes average their gradients, where a sum is wanted.
        scale = (self.processes.count / weight.clamp(min=torch.finfo(torch.float32).tiny)).float()
        add = partial(self._add_gradients, parts, scale)
        total = with_threads_awake(add) if self.net.is_native_on_cpu else add()
        return self._move(self.processes.sum(total) / self.processes.count)

    def _add_gradients(self, parts: Sequence[tuple[Batch, Tensor]], scale: Tensor) -> Tensor:
        """Add the gradients of images, classes and weights with dropout seeds, part by part; return the loss."""
        total = torch.zeros((), dtype=torch.float64, device=self.processes.device)
        dtype = DTYPES[self.precision]
        with self.net.packed_weights(dtype):
            for i, (batch, seeds) in enumerate(parts):
                last = i == len(parts) - 1
                with nullcontext() if last or self.shared is self.net else self.shared.no_sync():  # type: ignore[operator]
                    scores = self.shared(batch.image.to(dtype), seeds).float()
                    loss = scale * weighted_cross_entropy(
                        scores, batch.classes, batch.weights, normalization="sum", backend=self.config.backend
                    )
                    self.scaler.scale(loss).backward()
                    total += loss.detach()
        return total

    def _move(self, loss: Tensor) -> Tensor:
        """Move the weights; return the loss, nan where its gradient is not finite."""
        if self.scaler.is_enabled():  # which leaves a step out itself; gradients of fp16 overflow now and then
            self.scaler.step(self.optimizer)
            self.scaler.update()
            return loss
        gradients = [parameter.grad for parameter in self.net.parameters() if parameter.grad is not None]
        loss = loss.where(get_total_norm(gradients).isfinite(), torch.nan)
        self.optimizer.found_inf = (~loss.isfinite()).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        return loss


def _weight(batch: Batch) -> Tensor:
    """Return the sum of the weights of the pixels that count, float64."""
    return batch.weights.where(batch.classes != IGNORED_CLASS, 0).sum(dtype=torch.float64)
