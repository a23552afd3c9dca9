"""One training step on the CPU in float32 as in the paper: one tile, weighted cross entropy, SGD with momentum 0.99.

Then the step as `python -m unet_fast.train` takes it, beside the making of its tile alone (deformation, target classes,
weight map): the ratio says how little of the time is spent waiting for data.
"""

import pytest
import torch

from benchmarks import rivals
from benchmarks.agreement import EQUAL, Agreement
from benchmarks.conftest import OURS
from benchmarks.networks import (
    CHANNELS_LAST,
    NCHW,
    direct_gflop,
    in_layout,
    network,
    training_batch,
    training_step,
    twin,
)
from tests.norms import relative_l2
from unet_fast.config import TrainConfig
from unet_fast.data import synthetic_cells
from unet_fast.trainer import Trainer


def apart(ours, other):
    """All gradients as one vector: where a sum is 0 but for rounding, two ReLUs may differ in what they let pass."""
    ours, other = (torch.cat([gradient.flatten() for gradient in gradients]) for gradients in (ours, other))
    return relative_l2(ours, other)


@pytest.mark.parametrize(("base", "tile"), [(16, 316), (64, 316), (64, 572)])
def test_train_step(compare, quick, dear, within, base, tile):
    within(tile, 316, 316)
    if quick:
        base, tile = base // 4, 188
    image, classes, weights = batch = training_batch(tile)
    net = network(base)
    last, eager = twin(net, CHANNELS_LAST), twin(net, NCHW)
    batch_last = in_layout(image, CHANNELS_LAST), classes, weights
    calls = {
        OURS: training_step(net, (image, classes.byte(), weights)),  # the types that `target_classes` makes
        "eager NCHW": training_step(eager, batch),
        "eager channels_last": training_step(last, batch_last),
    }
    if base < 64 or dear.bfloat16:
        lower = twin(net, CHANNELS_LAST)
        calls[rivals.AUTOCAST] = training_step(lower, batch_last, rivals.autocast(lower))
    if not quick and (base < 64 or dear.compiled):
        peer = twin(net, CHANNELS_LAST)
        calls[rivals.COMPILED_LAST] = training_step(peer, batch_last, rivals.compiled(peer))
    compare(
        calls,
        group="train_step",
        agreement=Agreement("relative L2 of all gradients", 1e-3, apart),
        exceptions={rivals.AUTOCAST: Agreement("relative L2 of all gradients", 0.5, apart)},
        references=(rivals.AUTOCAST,),
        gflop=direct_gflop(base, tile, training=True),
    )


@pytest.mark.parametrize(("base", "tile"), [(16, 316), (64, 572)])
def test_waiting_for_data(compare, quick, within, tmp_path, base, tile):
    within(base, 16, 64)
    config = TrainConfig(base=4 if quick else base, tile=252 if quick else tile)
    trainer = Trainer(config, synthetic_cells(4, 512), tmp_path)

    def data():
        return trainer.sampler.batch(0, [0])

    def step():
        batch = data()
        trainer.step.take([batch], [[0]], 1e-6, 0).item()
        return batch

    compare(
        {OURS: data, "whole step": step},
        group="waiting_for_data",
        agreement=EQUAL,
        gbyte=4 * 5 * config.tile**2 / 1e9,  # image and labels read, tile, classes and weights written
        references=("whole step",),
    )
