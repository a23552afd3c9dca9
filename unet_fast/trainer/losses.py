"""The losses of the steps, brought to the CPU without keeping the device waiting."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from unet_fast.transfers import on_cpu


@dataclass(frozen=True)
class Loss:
    """The loss of a step.

    Attributes:
        epoch: of the step.
        step: its number within the epoch.
        value: the loss.
    """

    epoch: int
    step: int
    value: float


class Losses:
    """Losses under way from the device.

    On CUDA the CPU runs ahead: it looks at the loss of a step once the next step is in the queue, so that the device
    always has something to do.

    Args:
        behind: how many steps may be taken before a loss is looked at: 1 on CUDA, 0 on the CPU.
    """

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._under_way: deque[tuple[int, int, Callable[[], Tensor]]] = deque()

    def put(self, epoch: int, step: int, loss: Tensor) -> None:
        """Send the loss of a step, a scalar on the device, on its way."""
        self._under_way.append((epoch, step, on_cpu(loss)))

    def arrived(self, all_of_them: bool = False) -> Iterator[Loss]:
        """Yield the losses that are due, in the order of their steps; waits for them, and for all where asked to."""
        while len(self._under_way) > (0 if all_of_them else self._behind):
            epoch, step, value = self._under_way.popleft()
            yield Loss(epoch, step, float(value()))
