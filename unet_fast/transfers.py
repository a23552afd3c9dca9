"""Between CPU and device, without keeping either waiting."""

from collections.abc import Callable

import torch
from torch import Tensor


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor of the CPU to a device; on CUDA the current stream waits for that, and nothing else."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def on_cpu(tensor: Tensor) -> Callable[[], Tensor]:
    """Begin to copy a tensor to the CPU, in the current stream; what is returned waits and gives it, in any thread."""
    if not tensor.is_cuda:
        return lambda: tensor
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(tensor.device))

    def wait() -> Tensor:
        arrived.synchronize()
        return copy

    return wait


class Transfers:
    """Brings work to the device and results back, on CUDA beside the computation.

    Args:
        device: that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._up, self._down = (torch.cuda.Stream(device) if device.type == "cuda" else None for _ in range(2))

    def up(self, make: Callable[[], Tensor]) -> Tensor:
        """Make a tensor on the device; what comes after on the current stream finds it there."""
        if self._up is None:
            return make()
        with torch.cuda.stream(self._up):
            made = make()
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._up)
        made.record_stream(current)
        return made

    def down(self, result: Tensor) -> Callable[[], Tensor]:
        """Begin to copy a result, see `on_cpu`; what comes after on the current stream need not wait for that."""
        if self._down is None:
            return lambda: result
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._down):
            result.record_stream(self._down)
            return on_cpu(result)
