"""How the weights move: optimiser, learning rate, moving average."""

import copy
import math

import torch
from torch import nn

from unet_fast.config import TrainConfig


def make_optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser that the settings name.

    It is torch's fused one: one pass over the weights, learning rate and number of steps in tensors beside them, so
    that a CUDA graph can hold it, and a step that the tensor `found_inf` forbids is left out without asking the CPU.
    """
    parameters = list(net.parameters())
    device = parameters[0].device
    rate = torch.tensor(config.lr, device=device)
    if config.optimizer == "sgd":
        sgd = torch.optim.SGD(parameters, rate, config.momentum, weight_decay=config.weight_decay, fused=True)
        if config.momentum:
            for parameter in parameters:  # else made by the first step, and left as it is if that is left out
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    betas, capturable = (config.momentum, 0.999), device.type == "cuda"
    decay = config.weight_decay
    return torch.optim.AdamW(parameters, rate, betas, weight_decay=decay, fused=True, capturable=capturable)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step; the tensor stays where it is."""
    for group in optimizer.param_groups:
        group["lr"].fill_(rate)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, object]) -> None:
    """Load the moments of an optimiser and keep its own settings, which a resumed run may have been given anew.

    Raises:
        ValueError: the state is of other weights.
    """
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """Return the learning rate of a step.

    Args:
        config: of the run.
        step: its number since the start of the run, from 0.
        progress: share of the run that is done, in [0, 1].
    """
    rate = config.lr
    if config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
    return rate * min(1, (step + 1) / config.warmup) if config.warmup else rate


class MovingAverage:
    """An exponential moving average of a network's weights, which wander less than the weights themselves.

    Args:
        net: the network that is trained.
        decay: share that the average keeps in a step, in (0, 1); less at first, or the initial weights would stay.

    Attributes:
        net: a network with the averaged weights.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net, self.decay = copy.deepcopy(net).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), 1 - decay)
