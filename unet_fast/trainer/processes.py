"""One process or many: `torchrun -m unet_fast.train` starts them, each takes its share of the tiles of a step."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unet_fast.predict import choose_device


@dataclass(frozen=True)
class Processes:
    """This process among those that train one network.

    Attributes:
        rank: number of this process, from 0; the first alone validates and writes.
        count: number of processes.
        device: where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> "Processes":
        """Join the processes that torchrun started (gloo on the CPU, nccl on CUDA); without torchrun, there is one.

        Args:
            device: "cpu", "cuda" or "auto"; on CUDA each process of a machine takes the device of its number there.

        Raises:
            ValueError: torch knows no such device, or it cannot be used.
        """
        try:
            chosen = choose_device(device)
        except RuntimeError as error:
            raise ValueError(f"device: wanted cpu, cuda or auto, got {device!r}") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device: wanted a device that torch can use, got {device!r}: no CUDA here")
        if not dist.is_torchelastic_launched():
            return cls(0, 1, chosen)
        if chosen.type == "cuda":
            chosen = torch.device("cuda", dist.get_node_local_rank())
            torch.cuda.set_device(chosen)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), chosen)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, net: nn.Module) -> nn.Module:
        """Return the network as all processes train it: gradients are averaged, weights begin as those of the first."""
        return DistributedDataParallel(net) if self.count > 1 else net

    def sum(self, value: float) -> float:
        """Add up a number over all processes."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total)

    def any(self, value: bool) -> bool:
        """Tell whether it holds in any process."""
        return self.sum(float(value)) > 0

    def from_first(self, value: float) -> float:
        """Return the number that the first process has."""
        return self.sum(value if self.first else 0.0)

    def leave(self) -> None:
        """Wait for the others, then part."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()
