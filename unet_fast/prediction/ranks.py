"""Many processes, one run: under `torchrun` each takes its share of the files, or of the tiles of a file."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed as dist

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this is.

    Attributes:
        rank: number of this process.
        count: of the processes.
        local: number of this process on its machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that does what is done once."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return every count-th of the items."""
        return list(items[self.rank :: self.count])

    def everywhere(self, action: Callable[[], object]) -> None:
        """Do something in every process, and wait for all; what goes wrong in one is raised in all of them.

        Raises:
            ValueError: an error of a user's making, here or elsewhere; likewise OSError and MemoryError from here.
        """
        error: Exception | None = None
        try:
            action()
        except (ValueError, OSError, MemoryError) as found:
            error = found
        messages: list[str | None] = [None if error is None else str(error)]
        if self.count > 1:
            mine, messages = messages[0], [None] * self.count
            dist.all_gather_object(messages, mine)
        if error is not None:
            raise error
        for message in messages:
            if message is not None:
                raise ValueError(message)

    def sum(self, number: int) -> int:
        """Add up a number of all processes."""
        if self.count == 1:
            return number
        numbers: list[int | None] = [None] * self.count
        dist.all_gather_object(numbers, number)
        return sum(found or 0 for found in numbers)


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that `torchrun` started; without it there is one."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield Ranks()
        return
    dist.init_process_group("gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), dist.get_node_local_rank())
    finally:
        dist.destroy_process_group()
