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
from benchmarks.networks import CHANNELS_LAST, NCHW, direct_gflop, in_layout, network, twin


def frozen(net, image):
    """Compile with the parameters as constants, which lets PyTorch pack the weights once and for all."""
    compiled = torch.compile(net)
    with torch._inductor.config.patch(freezing=True):
        compiled(image)
    return compiled


@pytest.mark.parametrize("weights", ["plain", "packed"])
@pytest.mark.parametrize(("base", "tile"), [(64, 572), (16, 316), (16, 572)])
def test_predict(compare, quick, base, tile, weights):
    if quick:
        base, tile = base // 4, 188
    image, net = torch.randn(1, 1, tile, tile), network(base).eval()
    eager, last, image_last = twin(net, NCHW), twin(net, CHANNELS_LAST), in_layout(image, CHANNELS_LAST)
    lower = rivals.autocast(last)
    with torch.inference_mode(), net.packed_weights() if weights == "packed" else nullcontext():
        calls = {
            OURS: lambda: net(image),
            "eager NCHW": lambda: eager(image),
            "eager channels_last": lambda: last(image_last),
            rivals.AUTOCAST: lambda: lower(image_last),
        }
        if not quick:
            compiled, compiled_frozen = rivals.compiled(eager), frozen(last, image_last)
            calls["torch.compile"] = lambda: compiled(image)
            calls["torch.compile frozen channels_last"] = lambda: compiled_frozen(image_last)
        compare(
            calls,
            group="predict",
            agreement=near(1e-5),
            exceptions={rivals.AUTOCAST: near(0.05)},
            references=(rivals.AUTOCAST,),
            gflop=direct_gflop(base, tile),
            rounds=3 if base == 64 else 5,  # seconds a call
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
