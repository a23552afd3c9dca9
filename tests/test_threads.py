"""Where the threads of an operator run: on processors of their own, of those that they may use."""

import contextlib
import os
import sys
import threading
from pathlib import Path

import pytest
import torch

from unet_fast import ops

TASKS = Path("/proc/self/task")
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


def switches(thread):
    """How often the thread has left its processor."""
    lines = (TASKS / str(thread) / "status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "voluntary_ctxt_switches" in line)


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
    labels = torch.arange(64 * 64).remainder(7).reshape(1, 64, 64).int()
    weight = torch.tensor([1.0, 2.0])
    expected = ops.weight_map(labels, weight)
    processor, caller = min(PROCESSORS), threading.get_native_id()
    for thread in masks():
        os.sched_setaffinity(thread, {processor})
    left = {thread: switches(thread) for thread in masks()}
    assert ops.weight_map(labels, weight).equal(expected)  # nowhere to move to
    workers = [thread for thread in left if thread != caller and switches(thread) > left[thread]]
    assert workers
    for thread in workers:
        os.sched_setaffinity(thread, PROCESSORS)
    before, moved = masks(), False
    for _ in range(100):
        assert ops.weight_map(labels, weight).equal(expected)
        moved |= any(last_processor(thread) != processor for thread in workers)
    assert moved
    assert masks() == before
