"""How time grows with the image's side, the number of cells, the batch and the threads: in proportion to the work.

Each group varies one thing, and `python -m benchmarks.report` draws it. The largest sizes run with --full.
"""

import os

import pytest
import torch
import torch.nn.functional as F

from benchmarks.agreement import EQUAL, close, near
from benchmarks.conftest import OURS
from benchmarks.instances import cells
from benchmarks.networks import CHANNELS_LAST, direct_gflop, in_layout, network, training_batch, training_step, twin
from unet_fast import ops, reference
from unet_fast.augment import identity_warp
from unet_fast.geometry import TilePlan
from unet_fast.predict import predict

SIDES = [256, 512, 1024, 2048, 4096, 8192]
CLASS_WEIGHT, BORDER, SIGMA = torch.tensor([0.8, 1.3]), 10.0, 5.0


def weight_map_rivals(labels, peer: bool):
    """Ours, and the same in plain PyTorch: all distances to all cells, which only small images allow."""
    rivals = {OURS: lambda: ops.weight_map(labels, CLASS_WEIGHT, BORDER, SIGMA)}
    if peer:
        rivals["plain PyTorch"] = lambda: reference.weight_map(labels, CLASS_WEIGHT, BORDER, SIGMA)
    return rivals


@pytest.mark.parametrize("side", SIDES)
def test_weight_map_side(compare, within, side):
    within(side, 4096)
    block = cells(110, 256)  # as dense at every side
    copies = side // 256
    rows = [torch.cat([torch.where(block > 0, block + 128 * (copies * y + x), 0) for x in range(copies)], 2)
            for y in range(copies)]  # fmt: skip
    rivals = weight_map_rivals(torch.cat(rows, 1), side <= 256)
    compare(
        rivals,
        group="scaling weight_map side",
        agreement=close(1e-5),
        gbyte=9e-9 * side**2,
        size=("pixels", side**2),
    )


@pytest.mark.parametrize("count", [1, 10, 100, 1000, 10_000])
def test_weight_map_cells(compare, within, count):
    side = 2048 if count > 1000 else 1024
    within(count, 10_000)
    labels = torch.zeros(1, 2048, 2048, dtype=torch.int32)
    labels[:, :side, :side] = cells(count, side)
    compare(
        weight_map_rivals(labels, False),
        group="scaling weight_map cells",
        agreement=close(1e-5),
        gbyte=9e-9 * labels.numel(),
        size=("cells in 2048 x 2048 pixels", count),
    )


@pytest.mark.parametrize("count", [1, 10, 100, 1000, 10_000, 60_000])
def test_nearest_two_distances_cells(compare, within, count):
    within(count, 10_000)
    labels = cells(count, 2048)
    compare(
        {OURS: lambda: ops.nearest_two_distances(labels)},
        group="scaling nearest_two_distances cells",
        agreement=EQUAL,
        gbyte=12e-9 * labels.numel(),
        size=("cells in 2048 x 2048 pixels", count),
    )


@pytest.mark.parametrize("side", SIDES)
def test_elastic_warp_side(compare, within, side):
    within(side, 4096)
    image, labels = torch.rand(1, 1, side, side), torch.zeros(1, side, side, dtype=torch.int32)
    warp = identity_warp(torch.zeros(1, 2, dtype=torch.int64))
    warp = warp._replace(displacement=10 * torch.randn(1, 2, 3, 3))
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, side, side], align_corners=True)
    part = "grid_sample, image alone"  # on a grid that exists; all of it: see bench_elastic_warp
    compare(
        {
            OURS: lambda: ops.elastic_warp(image, labels, warp, side),
            part: lambda: F.grid_sample(image, grid, padding_mode="reflection", align_corners=True),
        },
        group="scaling elastic_warp side",
        agreement=EQUAL,
        exceptions={part: None},
        references=(part,),
        gbyte=16e-9 * side**2,
        size=("pixels", side**2),
    )


@pytest.mark.parametrize("side", SIDES)
def test_mirror_tiles_side(compare, within, side):
    within(side, 4096)
    image = (torch.rand(1, side, side) * 255).to(torch.uint8)
    steps = torch.arange(-92, side - 92, 388)
    origins = torch.cartesian_prod(steps, steps)
    compare(
        {
            OURS: lambda: ops.mirror_tiles(image, origins, 572),
            "indexing": lambda: reference.mirror_tiles(image, origins, 572),
        },
        group="scaling mirror_tiles side",
        agreement=EQUAL,
        gbyte=(side**2 + 4 * len(origins) * 572**2) / 1e9,
        size=("pixels", side**2),
    )


@pytest.mark.parametrize("side", SIDES)
def test_predict_side(compare, within, side):
    within(side, 1024)
    image, net = torch.rand(1, side, side), network(8).eval()
    plain = twin(net, CHANNELS_LAST)
    compare(
        {
            OURS: lambda: predict(net, image, 572, probabilities=True),
            "plain PyTorch": lambda: predict(plain, image, 572, probabilities=True),
        },
        group="scaling predict side",
        agreement=close(1e-4),
        gflop=len(TilePlan((side, side), 572).output_origins) * direct_gflop(8, 572),
        size=("pixels", side**2),
    )


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_forward_batch(compare, within, batch):
    within(batch, 4)
    image, net = torch.randn(batch, 1, 316, 316), network(16).eval()
    plain, image_last = twin(net, CHANNELS_LAST), in_layout(image, CHANNELS_LAST)
    with torch.inference_mode():
        compare(
            {OURS: lambda: net(image), "eager channels_last": lambda: plain(image_last)},
            group="scaling forward batch",
            agreement=near(1e-5),
            gflop=batch * direct_gflop(16, 316),
            size=("images of 316 x 316", batch),
        )


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(params=[count for count in (1, 2, 4, 8, 16, 32, 64) if count <= CORES])
def threads(request):
    """A number of threads, set for the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("base", "tile"), [(16, 316), (64, 572)])
def test_forward_threads(compare, quick, within, threads, base, tile):
    if quick:
        base, tile = base // 4, 188
    within(base, 16, 16)
    image, net = torch.randn(1, 1, tile, tile), network(base).eval()
    plain, image_last = twin(net, CHANNELS_LAST), in_layout(image, CHANNELS_LAST)
    with torch.inference_mode(), net.packed_weights():
        compare(
            {OURS: lambda: net(image), "eager channels_last": lambda: plain(image_last)},
            group=f"scaling forward base-{base} threads",
            agreement=near(1e-5),
            gflop=direct_gflop(base, tile),
            size=("threads", threads),
        )


@pytest.mark.parametrize(("base", "tile"), [(16, 316), (64, 572)])
def test_train_step_threads(compare, quick, within, threads, base, tile):
    if quick:
        base, tile = base // 4, 188
    within(base, 16, 16)
    net, (image, *targets) = network(base), training_batch(tile)
    plain, image_last = twin(net, CHANNELS_LAST), in_layout(image, CHANNELS_LAST)
    compare(
        {
            OURS: training_step(net, (image, *targets)),
            "eager channels_last": training_step(plain, (image_last, *targets)),
        },
        group=f"scaling train_step base-{base} threads",
        agreement=near(1e-2),
        gflop=direct_gflop(base, tile, training=True),
        size=("threads", threads),
    )
