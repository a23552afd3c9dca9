"""Functions as CUDA graphs: the logic on the CPU, with a recorder that behaves as CUDA's; the graphs on CUDA."""

import warnings

import pytest
import torch

from tests.recording import OperatorRecorder
from unet_fast.graphs import Graphed, recorder_for

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


class Replayer:
    """A recorder on the CPU that, as CUDA's, runs nothing while it records, and later reads and writes fixed memory."""

    def __init__(self, refuses=None):
        self.runs, self.records, self.replays, self.refuses = 0, 0, 0, refuses

    def run(self, work):
        self.runs += 1
        return work()

    def record(self, work):
        self.records += 1
        if self.refuses is not None:
            raise self.refuses
        result = torch.full((), float("nan"))  # nothing was computed yet

        def replay():
            self.replays += 1
            result.copy_(work())

        return replay, result


class Counter:
    """A function with a state: adds up the sums of its arguments."""

    def __init__(self):
        self.total, self.seen = torch.zeros(()), []

    def __call__(self, *arguments):
        self.seen.append([argument.data_ptr() for argument in arguments])
        return self.total.add_(sum(argument.sum() for argument in arguments)).clone()


def test_without_a_recorder_it_is_the_function_itself():
    assert recorder_for(torch.device("cpu")) is None
    result = torch.ones(3)
    assert Graphed(lambda x: result, None)(torch.zeros(2)) is result


def test_the_third_call_is_a_graph_and_each_call_happens_once():
    function, recorder = Counter(), Replayer()
    graphed = Graphed(function, recorder)
    for calls in range(1, 7):
        assert graphed(torch.ones(2), torch.ones(3)) == 5 * calls
    assert (recorder.runs, recorder.records, recorder.replays) == (2, 1, 4)


def test_arguments_are_read_from_buffers_that_stay():
    function, kept = Counter(), []
    graphed = Graphed(function, Replayer())
    for _ in range(5):
        kept.append((torch.rand(2), torch.rand(3)))  # at another address each time
        graphed(*kept[-1])
    assert function.seen[2] == function.seen[3] == function.seen[4]
    assert function.seen[4] != [argument.data_ptr() for argument in kept[-1]]


def test_results_are_the_callers_own():
    graphed = Graphed(lambda x: 2 * x.sum(), Replayer())
    results = [graphed(torch.full((2,), float(i))) for i in range(6)]
    assert results == [4 * i for i in range(6)]


def test_each_shape_and_dtype_has_its_graph():
    recorder = Replayer()
    graphed = Graphed(lambda x: x.sum().double(), recorder)
    for call in range(1, 5):
        for x in (torch.ones(2), torch.ones(3), torch.ones(3, 1), torch.ones(3, dtype=torch.int64)):
            assert graphed(x * call) == call * x.numel()
    assert (recorder.runs, recorder.records, recorder.replays) == (8, 4, 8)


def test_few_shapes_are_remembered():
    recorder = Replayer()
    graphed = Graphed(lambda x: x.sum(), recorder)
    for side in list(range(1, 20)) * 3:
        assert graphed(torch.ones(side)) == side
    assert len(graphed._shapes) == 8 and recorder.records == 0


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted\nstack"), torch.OutOfMemoryError("memory")])
def test_what_cannot_be_recorded_is_called_and_said_once(error):
    function, recorder = Counter(), Replayer(refuses=error)
    graphed = Graphed(function, recorder)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for calls in range(1, 7):
            assert graphed(torch.ones(2)) == 2 * calls
    assert [str(warning.message).partition(": ")[2] for warning in said] == [str(error).partition("\n")[0]]
    assert (recorder.runs, recorder.records, recorder.replays) == (6, 1, 0)


def test_errors_of_the_function_are_raised():
    def function(x):
        raise ValueError("x")

    graphed = Graphed(function, Replayer())
    for _ in range(4):
        with pytest.raises(ValueError, match="x"):
            graphed(torch.ones(1))


def test_the_recorder_of_the_tests_is_as_strict_as_cuda():
    state, calls = torch.zeros(()), []

    def function(x):
        calls.append(1)
        return state.add_(1) + x * len(calls)

    graphed = Graphed(function, OperatorRecorder())
    assert [float(graphed(torch.ones(()))) for _ in range(5)] == [2, 4, 6, 7, 8]  # the count of calls stays 3
    graphed = Graphed(lambda x: x * float(x), OperatorRecorder())
    graphed(torch.ones(())), graphed(torch.ones(()))
    with pytest.warns(UserWarning, match="could not be recorded: operation not permitted when stream is capturing"):
        assert graphed(torch.full((), 3.0)) == 9


@pytest.mark.parametrize("device", [CUDA])
def test_a_cuda_graph_computes_what_its_function_does(device):
    state = torch.zeros((), device=device)

    def function(x, y):
        state.add_(1)
        return (x @ y).relu() + state

    graphed = Graphed(function, recorder_for(torch.device(device)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(7):
            for size in (16, 48):
                x, y = torch.rand(size, 32, device=device), torch.rand(32, size, device=device)
                found = graphed(x, y)
                torch.testing.assert_close(found, (x @ y).relu() + state)
        assert float(state) == 14
    assert all(shape.replay is not None for shape in graphed._shapes.values())


@pytest.mark.parametrize("device", [CUDA])
def test_what_waits_for_the_device_goes_on_without_a_graph(device):
    graphed = Graphed(lambda x: x * float(x.sum()), recorder_for(torch.device(device)))
    x = torch.ones(4, device=device)
    graphed(x), graphed(x)
    with pytest.warns(UserWarning, match="goes on without a CUDA graph"):
        assert float(graphed(x).sum()) == 16
    assert float(graphed(x).sum()) == 16
