"""The whole network forward, one tile on the CPU in float32, against PyTorch in the ways that PyTorch offers.

The first rows are the paper's network and tile (572 -> 388), the others this package's defaults; each with the weights
as they are, and packed, as prediction packs them for the tiles of an image.
"""

from contextlib import nullcontext

import pytest
import torch

from benchmarks import rivals
from benchmarks.agreement import near
from benchmarks.conftest import OURS
from benchmarks.limited import limited_rivals
from benchmarks.networks import (
    CHANNELS_LAST,
    direct_gflop,
    forward_rivals,
    in_layout,
    network,
    training_batch,
    twin,
)
from unet_fast.ops import build_info
from unet_fast.ops._native import _C


@pytest.fixture
def avx2():
    """This package's kernels for AVX2."""
    if "avx2" not in build_info().instruction_sets:
        pytest.skip("the machine has no AVX2")
    before = _C.instruction_set()
    _C.set_instruction_set("avx2")
    yield
    _C.set_instruction_set(before)


@pytest.mark.parametrize("weights", ["plain", "packed"])
@pytest.mark.parametrize(("base", "tile"), [(64, 572), (16, 316), (16, 572)])
def test_predict(compare, quick, base, tile, weights):
    if quick:
        base, tile = base // 4, 188
    image, net = torch.randn(1, 1, tile, tile), network(base).eval()
    image_last, lower = in_layout(image, CHANNELS_LAST), rivals.autocast(twin(net, CHANNELS_LAST))
    with torch.inference_mode(), net.packed_weights() if weights == "packed" else nullcontext():
        compare(
            {
                OURS: lambda: net(image),
                **forward_rivals(net, image, compiled=not quick),
                rivals.AUTOCAST: lambda: lower(image_last),
            },
            group="predict",
            agreement=near(1e-5),
            exceptions={rivals.AUTOCAST: near(0.05)},
            references=(rivals.AUTOCAST,),
            gflop=direct_gflop(base, tile),
            rounds=3 if base == 64 else 5,  # seconds a call
        )


@pytest.mark.parametrize("weights", ["plain", "packed"])
def test_predict_avx2(compare, quick, request, tmp_path, avx2, weights):
    """On a machine with AVX2 only, as far as a better one can be limited to it; torch.compile with --full."""
    base, tile = (16, 188) if quick else (64, 572)
    compiled = not quick and request.config.getoption("--full")
    image, net = training_batch(tile)[0], network(base).eval()
    with (
        torch.inference_mode(),
        net.packed_weights() if weights == "packed" else nullcontext(),
        limited_rivals("avx2", base, tile, tmp_path, compiled=compiled) as limited,
    ):
        compare(
            {OURS: lambda: net(image), **limited},
            group="predict avx2",
            agreement=near(1e-5),
            gflop=direct_gflop(base, tile),
            rounds=3,
        )


@pytest.mark.parametrize(("base", "tile"), [(64, 572), (16, 572)])
def test_predict_bfloat16(compare, quick, base, tile):
    """Where bfloat16 will do: PyTorch multiplies it, on some CPUs by a matrix unit; ours computes in float32."""
    if quick:
        base, tile = base // 4, 188
    image, net = torch.randn(1, 1, tile, tile), network(base).eval()
    last, image_last, small = twin(net, CHANNELS_LAST), in_layout(image, CHANNELS_LAST), image.bfloat16()

    lower = rivals.autocast(last)
    with torch.inference_mode(), net.packed_weights():
        calls = {OURS: lambda: net(small), rivals.AUTOCAST: lambda: lower(image_last)}
        compare(calls, group="predict bfloat16", agreement=near(0.05), gflop=direct_gflop(base, tile), rounds=5)
