"""Tiles in batches: every result in its place, whatever the batch; one shape for all batches, as a CUDA graph needs."""

import numpy as np
import pytest
import torch

from unet_fast.data import Normalization
from unet_fast.geometry import TilePlan
from unet_fast.model import UNet
from unet_fast.predict import predict
from unet_fast.prediction.memory import choose_batch, tile_bytes
from unet_fast.prediction.network import TileNetwork, evaluating
from unet_fast.prediction.pipeline import Task, TileReader, predict_tiles
from unet_fast.prediction.source import Source
from unet_fast.prediction.work import Results

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


class Noted(TileNetwork):
    """Notes the shapes of its batches."""

    def __call__(self, tiles):
        self.shapes = [*getattr(self, "shapes", []), tuple(tiles.shape)]
        return super().__call__(tiles)


def small_net(device="cpu"):
    torch.manual_seed(0)
    return UNet(1, 2, base=2, depth=2).eval().to(device)


def in_batches(net, planes, batch, precision="float32"):
    """Return probabilities of planes [N, H, W], their network, and the tasks in the order in which they were done."""
    device = next(net.parameters()).device
    source = Source(planes[:, None], "ZCYX", "image")
    plan = TilePlan(source.size, (52, 52), net.sides)
    found = np.full((len(planes), 2, *source.size), np.nan, np.float32)
    tasks = [Task(n, tile) for n in range(len(planes)) for tile in range(len(plan.output_origins))]
    network = Noted(net, precision=precision)
    with evaluating(net, True, precision):
        reader = TileReader(source, plan, Normalization("none"), device)
        done = list(predict_tiles(reader, network, tasks, Results(None, found).put, batch))
    assert done == tasks
    return found, network


@pytest.mark.parametrize("batch", [1, 2, 5, 8, 100])
def test_batches_change_nothing(batch, generator):
    net, planes = small_net(), torch.rand(2, 30, 40, generator=generator).numpy()
    found, network = in_batches(net, planes, batch)
    expected = np.stack([predict(net, plane, 52, probabilities=True) for plane in planes])
    assert np.array_equal(found, expected)  # with few channels all sums are taken directly, in one order
    assert set(network.shapes) == {(min(batch, 24), 1, 52, 52)}  # 12 tiles a plane; the last batch is filled up


def test_one_tile_at_once_on_the_cpu():
    assert choose_batch(UNet(base=4), (572, 572), None, torch.device("cpu")) == 1


@pytest.mark.parametrize(("tile", "memory", "most"), [(572, 80, 12), (2044, 80, 1), (572, 2, 12), (572, 0, 12)])
def test_as_many_tiles_as_fit_and_keep_a_gpu_busy(tile, memory, most):
    net, dtype, sides = UNet(base=64), torch.bfloat16, (tile, tile)
    count = choose_batch(net, sides, memory << 30, torch.device("cuda"), dtype)
    if memory in {0, 80}:  # nothing fits: one is tried; everything does: as many pixels as the largest tile has
        assert count == (most if memory else 1)
    else:
        needed = [tile_bytes(net, sides, dtype, n) for n in (count, count + 1)]
        assert 1 < count < most and needed[0] <= memory << 30 < needed[1]


def test_half_precision_needs_about_half_the_memory():
    net = UNet(base=64)
    whole, half = (tile_bytes(net, (2044, 2044), dtype) for dtype in (torch.float32, torch.bfloat16))
    assert 0.5 < half / whole < 0.6


# On CUDA a batch may take other kernels than a tile: equal but for the rounding of the precision.
BOUNDS = {"float32": 1e-5, "tf32": 1e-2, "bf16": 5e-2}


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("precision", BOUNDS)
def test_on_cuda_batches_and_graphs_change_rounding_alone(device, precision, generator):
    torch.manual_seed(0)
    net = UNet(base=16).eval()
    image = torch.rand(300, 300, generator=generator).numpy()
    expected = predict(net, image, 252, probabilities=True)
    net.to(device)
    for tile in (252, 316, None):
        found = predict(net, image, tile, probabilities=True, precision=precision)
        assert np.abs(found - expected).max() <= BOUNDS[precision]
    again = predict(net, image, None, probabilities=True, precision=precision)
    assert np.array_equal(again, found)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_on_cuda_the_same_kernels_give_the_same_bits(device, batch, generator):
    net, planes = small_net(device), torch.rand(2, 30, 40, generator=generator).numpy()
    found, network = in_batches(net, planes, batch)
    again, _ = in_batches(net, planes, batch)
    assert np.array_equal(found, again)
    shapes = network._graphed._shapes.values()
    assert all(shape.replay is not None for shape in shapes if shape.calls > 2)
