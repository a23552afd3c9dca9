"""The whole network forward, one tile on the CPU in float32, against PyTorch in the ways that PyTorch offers.

The first row is the paper's network and tile (572 -> 388), the others this package's defaults; beside ours with the
weights as they are, ours with packed weights, as prediction packs them for the tiles of an image.
"""

from contextlib import ExitStack

import pytest
import torch

from benchmarks import rivals
from benchmarks.agreement import near
from benchmarks.conftest import OURS
from benchmarks.limited import limited_rivals
from benchmarks.networks import (
    CHANNELS_LAST,
    COMPILED,
    FROZEN,
    direct_gflop,
    forward_rivals,
    in_layout,
    network,
    training_batch,
    twin,
)
from unet_fast.ops import build_info
from unet_fast.ops._native import _C

PACKED = f"{OURS}, packed weights"


@pytest.fixture
def avx2():
    """This package's kernels for AVX2."""
    if "avx2" not in build_info().instruction_sets:
        pytest.skip("the machine has no AVX2")
    before = _C.instruction_set()
    _C.set_instruction_set("avx2")
    yield
    _C.set_instruction_set(before)


def packed_twin(net, stack):
    """Return the same network with its weights packed for as long as `stack` lasts."""
    packed = network(net.base).eval()
    stack.enter_context(packed.packed_weights())
    return packed


@pytest.mark.parametrize(("base", "tile"), [(64, 572), (16, 316), (16, 572)])
def test_predict(compare, quick, dear, base, tile):
    if quick:
        base, tile = base // 4, 188
    image, net = torch.randn(1, 1, tile, tile), network(base).eval()
    both, faster = (COMPILED, FROZEN), (FROZEN,)
    compiled = () if quick else both if base == 64 or dear.compiled else faster if tile == 572 else ()
    with torch.inference_mode(), ExitStack() as stack:
        packed = packed_twin(net, stack)
        calls = {
            OURS: lambda: net(image),
            PACKED: lambda: packed(image),
            **forward_rivals(net, image, compiled=compiled),
        }
        if base < 64 or dear.bfloat16:
            image_last, lower = in_layout(image, CHANNELS_LAST), rivals.autocast(twin(net, CHANNELS_LAST))
            calls[rivals.AUTOCAST] = lambda: lower(image_last)
        compare(
            calls,
            group="predict",
            agreement=near(1e-5),
            exceptions={rivals.AUTOCAST: near(0.05)},
            references=(PACKED, rivals.AUTOCAST),
            gflop=direct_gflop(base, tile),
        )


@pytest.mark.parametrize(("base", "tile"), [(16, 572), (64, 572)])
def test_predict_avx2(compare, request, quick, dear, within, tmp_path, avx2, base, tile):
    """On a machine with AVX2 only, as far as a better one can be limited to it; torch.compile with --full."""
    if quick:
        base, tile = base // 4, 188
    within(base, 16, 16)
    image, net = training_batch(tile)[0], network(base).eval()
    keeps_memory = not request.config.getoption("--system-allocator")
    with (
        torch.inference_mode(),
        ExitStack() as stack,
        limited_rivals("avx2", base, tile, tmp_path, compiled=dear.compiled, keeps_memory=keeps_memory) as limited,
    ):
        packed = packed_twin(net, stack)
        compare(
            {OURS: lambda: net(image), PACKED: lambda: packed(image), **limited},
            group="predict avx2",
            agreement=near(1e-5),
            references=(PACKED,),
            gflop=direct_gflop(base, tile),
        )


@pytest.mark.parametrize(("base", "tile"), [(16, 572), (64, 572)])
def test_predict_bfloat16(compare, quick, dear, base, tile):
    """Where bfloat16 will do: PyTorch multiplies it, on some CPUs by a matrix unit; ours computes in float32."""
    if quick:
        base, tile = base // 4, 188
    if base == 64 and not dear.bfloat16:
        pytest.skip(dear.left_out)
    image, net = torch.randn(1, 1, tile, tile), network(base).eval()
    last, image_last, small = twin(net, CHANNELS_LAST), in_layout(image, CHANNELS_LAST), image.bfloat16()

    lower = rivals.autocast(last)
    with torch.inference_mode(), net.packed_weights():
        calls = {OURS: lambda: net(small), rivals.AUTOCAST: lambda: lower(image_last)}
        compare(calls, group="predict bfloat16", agreement=near(0.05), gflop=direct_gflop(base, tile))
