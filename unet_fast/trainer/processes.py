"""One process or many: `torchrun -m unet_fast.train` starts them, each takes its share of the tiles of a step."""

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous
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
        """Join the processes that torchrun started (gloo, and nccl on CUDA); without torchrun, there is one.

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
        if chosen.type == "cuda":
            if dist.is_torchelastic_launched():
                chosen = torch.device("cuda", dist.get_node_local_rank())
            torch.cuda.set_device(chosen)
        if not dist.is_torchelastic_launched():
            return cls(0, 1, chosen)
        if not dist.is_initialized():
            # What the processes tell each other from step to step goes past the devices, which need not wait for it.
            backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
            timeout = timedelta(minutes=2)  # to meet: if that fails, torchrun starts all again
            store, rank, count = next(rendezvous("env://", timeout=timeout))
            # torchrun keeps one store over its restarts: without a prefix the addresses of dead processes lie in it.
            store = PrefixStore("restart " + os.environ["TORCHELASTIC_RESTART_COUNT"], store)
            dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=timeout)
            # Later the others wait for the first process while it validates.
            _set_pg_timeout(timedelta(minutes=30))
        return cls(dist.get_rank(), dist.get_world_size(), chosen)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, net: nn.Module) -> nn.Module:
        """Return the network as all processes train it: gradients are averaged, weights begin as those of the first."""
        return DistributedDataParallel(net) if self.count > 1 else net

    def sum(self, value: Tensor) -> Tensor:
        """Add up a tensor over all processes, in place; nothing waits for the device."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def any(self, value: bool) -> bool:
        """Tell whether it holds in any process."""
        return value if self.count == 1 else self._sum_of(float(value)) > 0

    def from_first(self, value: float) -> float:
        """Return the number that the first process has."""
        return value if self.count == 1 else self._sum_of(value if self.first else 0.0)

    def _sum_of(self, value: float) -> float:
        return float(self.sum(torch.tensor(value, dtype=torch.float64)))

    def leave(self) -> None:
        """Wait for the others, then part."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()
