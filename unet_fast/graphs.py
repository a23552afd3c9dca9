"""A function as CUDA graphs: recorded once for each shape of its arguments, then launched as a whole.

A network is a hundred kernels of a few microseconds; launched one by one they wait for the CPU. A graph repeats kernels
on the very addresses with which they were recorded. So the arguments are copied to buffers that stay, and what the
function reads and changes besides (weights, the state of an optimiser) must stay where it is.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_WARM_UP = 2  # calls before a shape is recorded: libraries choose algorithms, optimisers make their state
_SHAPES = 8  # that are remembered


class Recorder(Protocol):
    """What runs work beside the current stream and records it."""

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Run work where it would be recorded; what comes after on the current stream finds it done."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record work without running it; return what runs it, and where its result then lies."""


class CudaRecorder:
    """Records CUDA graphs that share their memory.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Run work on the stream of the recording; autograd would wait for another one, which a recording must not."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record work; other threads may go on using the device meanwhile."""
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        current = torch.cuda.current_stream(self._stream.device)
        with torch.cuda.stream(current), recording:  # a recording that fails leaves its stream behind
            result = work()
        return graph.replay, result


def recorder_for(device: torch.device) -> Recorder | None:
    """Return what records on a device: None on the CPU, where functions are called as they are."""
    return CudaRecorder(device) if device.type == "cuda" else None


@dataclass
class _Shape:
    calls: int = 0
    arguments: tuple[Tensor, ...] = ()
    replay: Callable[[], None] | None = None
    result: Tensor | None = None


class Graphed:
    """A function of tensors, called as before; from the third call with the same shapes on it is a graph.

    Where a shape cannot be recorded, which is said by a warning, the function is called directly.

    Args:
        function: tensors -> tensor, without waiting for the device. It may change tensors in place.
        recorder: see `recorder_for`; None: the function is called directly.
    """

    def __init__(self, function: Callable[..., Tensor], recorder: Recorder | None) -> None:
        self._function, self._recorder = function, recorder
        self._shapes: OrderedDict[tuple[object, ...], _Shape] = OrderedDict()

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Call the function; the result is the caller's own."""
        if self._recorder is None:
            return self._function(*arguments)
        shape = self._shape(arguments)
        shape.calls += 1
        if shape.calls == _WARM_UP + 1:
            self._record(shape, arguments, self._recorder)
        if shape.replay is None or shape.result is None:
            return self._recorder.run(lambda: self._function(*arguments))
        for buffer, argument in zip(shape.arguments, arguments, strict=True):
            buffer.copy_(argument, non_blocking=True)
        shape.replay()
        return shape.result.clone()

    def forget(self) -> None:
        """Give up all graphs, and the memory that they hold."""
        self._shapes.clear()

    def _shape(self, arguments: tuple[Tensor, ...]) -> _Shape:
        key = tuple((argument.shape, argument.dtype) for argument in arguments)
        shape = self._shapes.setdefault(key, _Shape())
        self._shapes.move_to_end(key)
        if len(self._shapes) > _SHAPES:
            self._shapes.popitem(last=False)
        return shape

    def _record(self, shape: _Shape, arguments: tuple[Tensor, ...], recorder: Recorder) -> None:
        shape.arguments = tuple(argument.clone() for argument in arguments)
        try:
            shape.replay, shape.result = recorder.record(lambda: self._function(*shape.arguments))
        except RuntimeError as error:  # which also says that memory is short: the direct call may still have enough
            shape.arguments = ()
            reason = str(error).partition("\n")[0]
            warnings.warn(f"goes on without a CUDA graph, which could not be recorded: {reason}", stacklevel=3)
