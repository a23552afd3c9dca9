"""A step on the CPU once the first ones are over: memory is used again, and layers hand on what the next one reads."""

import resource
import time

import pytest
from torch.profiler import ProfilerActivity, profile

from unet_fast.config import TrainConfig
from unet_fast.data import synthetic_cells
from unet_fast.ops import build_info, empty_cache
from unet_fast.trainer import Trainer

PAGE = resource.getpagesize()


@pytest.fixture
def trainer(tmp_path):
    trainer = Trainer(TrainConfig(base=16, tile=316, steps=20, device="cpu"), synthetic_cells(2, 192), tmp_path)
    trainer.started = time.monotonic()
    return trainer


def fresh_bytes(trainer):
    """Take a step, and return how much memory it touched that was not the process's before."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    trainer._train_step()
    return PAGE * (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


def test_a_step_touches_no_fresh_page(trainer):
    empty_cache()  # what other tests left
    first = fresh_bytes(trainer)
    trainer._train_step()
    steady = min(fresh_bytes(trainer) for _ in range(6))  # now and then the system takes a page away
    assert first > 20 << 20  # activations, gradients, moments
    assert steady < first / 10


@pytest.mark.skipif(build_info().instruction_set == "generic", reason="direct sums take both sources concatenated")
def test_no_layer_converts_what_it_is_given(trainer):
    batch = trainer.sampler.batch(0, range(1))
    for number in range(2):
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as steps:
            trainer.step.take([batch], [[number]], 1e-3, number)
    events = steps.events()
    copied = [event.input_shapes[0] for event in events if event.name == "aten::copy_"]
    maps = [shape for shape in copied if len(shape) == 4 and shape[1] > 2 and shape[-1] > 3]
    # What is left: the dropout masks of two levels, which turn from bool into factors.
    assert sorted(maps) == [[1, 128, 32, 32], [1, 256, 12, 12]]
    # Not of maps: the weights of a step's parts and the norms of its gradients, single numbers.
    assert sum(event.name == "aten::cat" for event in events) == 2
