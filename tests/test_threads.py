"""Where the threads of an operator run, on processors of their own, and how long they stay awake."""

import contextlib
import os
import sys
import threading
from pathlib import Path

import pytest
import torch

from unet_fast import UNet, ops

TASKS = Path("/proc/self/task")
LABELS, WEIGHT = torch.arange(64 * 64).remainder(7).reshape(1, 64, 64).int(), torch.tensor([1.0, 2.0])
PROCESSORS = os.sched_getaffinity(0) if sys.platform == "linux" else set()


def masks():
    """The processors that each thread of this process may use."""
    found = {}
    for task in TASKS.iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            found[int(task.name)] = os.sched_getaffinity(int(task.name))
    return found


def last_processor(thread):
    return int((TASKS / str(thread) / "stat").read_text().rpartition(")")[2].split()[36])


def switches(thread, kinds=("voluntary", "nonvoluntary")):
    """How often the thread has left its processor: to sleep, or because another's turn had come."""
    lines = (TASKS / str(thread) / "status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(tuple(f"{kind}_ctxt" for kind in kinds)))


@pytest.fixture
def two_threads():
    before, threads = masks(), torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
    for thread in masks():
        os.sched_setaffinity(thread, before.get(thread, PROCESSORS))


@pytest.mark.skipif(len(PROCESSORS) < 2, reason="fewer than two processors, or not Linux")
def test_a_thread_moves_off_the_processor_of_its_caller(two_threads):
    expected = ops.weight_map(LABELS, WEIGHT)
    processor, caller = min(PROCESSORS), threading.get_native_id()
    for thread in masks():
        os.sched_setaffinity(thread, {processor})
    left = {thread: switches(thread) for thread in masks()}
    assert ops.weight_map(LABELS, WEIGHT).equal(expected)  # nowhere to move to
    workers = [thread for thread in left if thread != caller and switches(thread) > left[thread]]
    assert workers
    for thread in workers:
        os.sched_setaffinity(thread, PROCESSORS)
    before, moved = masks(), False
    for _ in range(100):
        assert ops.weight_map(LABELS, WEIGHT).equal(expected)
        moved |= any(last_processor(thread) != processor for thread in workers)
    assert moved
    assert masks() == before


def test_awake_threads_compute_the_same_bits(two_threads, generator):
    net = UNet(base=8)
    image = torch.randn((2, 1, 188, 188), generator=generator)

    def gradients():
        net.zero_grad()
        scores = net(image, dropout_seeds=[1, 2])
        scores.square().sum().backward()
        return [scores.detach(), *(parameter.grad for parameter in net.parameters())]

    for ours, other in zip(ops.with_threads_awake(gradients), gradients(), strict=True):
        assert ours.equal(other)


def test_awake_threads_give_results_and_errors_back(two_threads):
    assert ops.with_threads_awake(lambda: "a result") == "a result"
    with pytest.raises(ValueError, match="planted"):
        ops.with_threads_awake(lambda: int("planted"))
    with pytest.raises(TypeError, match="labels: wanted dtype"):
        ops.with_threads_awake(lambda: ops.weight_map(LABELS.float(), WEIGHT))
    assert ops.with_threads_awake(lambda: ops.with_threads_awake(lambda: 7)) == 7
    assert ops.weight_map(LABELS, WEIGHT).equal(ops.with_threads_awake(lambda: ops.weight_map(LABELS, WEIGHT)))


def test_awake_threads_are_not_those_of_other_callers(two_threads):
    """Who calls operators from another thread meanwhile has the pool as ever."""
    expected, found = ops.weight_map(LABELS, WEIGHT), []

    def call():
        found.extend(ops.weight_map(LABELS, WEIGHT) for _ in range(20))

    def call_both():
        other = threading.Thread(target=call)
        other.start()
        call()
        other.join()

    ops.with_threads_awake(call_both)
    assert len(found) == 40
    assert all(result.equal(expected) for result in found)


@pytest.mark.skipif(len(PROCESSORS) < 2, reason="fewer than two processors, or not Linux")
def test_awake_threads_do_not_sleep(two_threads):
    calls = 50

    def call():
        before = {thread: switches(thread, ["voluntary"]) for thread in masks()}
        for _ in range(calls):
            ops.weight_map(LABELS, WEIGHT)
        return {thread: switches(thread, ["voluntary"]) - count for thread, count in before.items()}

    ops.weight_map(LABELS, WEIGHT)  # so that the pool's threads exist
    slept = ops.with_threads_awake(call)
    assert all(count < calls / 2 for count in slept.values())
