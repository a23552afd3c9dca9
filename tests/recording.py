"""A recorder that does on the CPU what a CUDA graph does: it writes operators down and repeats them on the same memory.

What Python computed is fixed by then, as in a graph: a learning rate that is a number, a seed, a branch. What would
wait for the device (reading a value) cannot be recorded, as on CUDA.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_READS_A_VALUE = torch.ops.aten._local_scalar_dense.default


class OperatorRecorder:
    """See `unet_fast.graphs.Recorder`."""

    def __init__(self):
        self.runs, self.records, self.replays = 0, 0, 0

    def run(self, work):
        self.runs += 1
        return work()

    def record(self, work):
        self.records += 1
        recording = _Recording()
        with recording:
            result = work()
        recording.undo()

        def replay():
            self.replays += 1
            recording.repeat()

        return replay, result


class _Recording(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls, self.before, self.made = [], {}, set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if operator is _READS_A_VALUE:
            raise RuntimeError("operation not permitted when stream is capturing")
        inputs = _tensors((args, kwargs))
        if operator._schema.is_mutable:
            for tensor in inputs:
                if _memory(tensor) not in self.made:
                    self.before.setdefault(_memory(tensor), (tensor, tensor.detach().clone()))
        results = operator(*args, **kwargs)
        known = {_memory(tensor) for tensor in inputs}
        fresh = [tensor for tensor in _tensors(results) if _memory(tensor) not in known]
        self.made |= {_memory(tensor) for tensor in fresh}
        self.calls.append((operator, args, kwargs, results, fresh))
        return results

    def undo(self):
        """Recording runs nothing: give the tensors that were changed their values back, and spoil what was computed."""
        with torch.no_grad():
            for tensor, value in self.before.values():
                tensor.copy_(value)
            for *_, fresh in self.calls:
                for tensor in fresh:
                    tensor.fill_(float("nan") if tensor.is_floating_point() else 77)

    def repeat(self):
        """Call the operators again; each result goes where it was."""
        with torch.no_grad():
            for operator, args, kwargs, results, fresh in self.calls:
                again = operator(*args, **kwargs)
                for old, new in zip(_tensors(results), _tensors(again), strict=True):
                    if any(old is tensor for tensor in fresh):
                        old.copy_(new)


def _tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()
