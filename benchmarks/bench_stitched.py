"""A whole image through overlapping tiles: ours against a plain PyTorch loop, and MONAI's sliding window if installed.

All use the same network and weights; ours and the loop the same tiles. MONAI wants a network whose result has the size
of its input: it gets one that mirrors its window, as a network with padding would. Its windows overlap by a quarter and
are blended with Gaussian weights, as is usual; and, so that it computes no more than the others, not at all. Reported,
too: the largest difference from the pass over the whole image, which shows seams, and the peak of memory.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import peers
from benchmarks import rivals as forms
from benchmarks.agreement import close
from benchmarks.bench_memory import STATUS, kilobytes
from benchmarks.conftest import OURS
from benchmarks.networks import CHANNELS_LAST, NCHW, direct_gflop, in_layout, network, twin
from unet_fast.geometry import TilePlan, border, legal_side
from unet_fast.predict import predict

MARGIN = border() // 2


def mirrored(image, after):
    """Mirror an image [H, W] at its border; `after`: how far beyond the lower and the right end."""
    return torch.from_numpy(np.pad(image, ((MARGIN, after[0]), (MARGIN, after[1])), "reflect"))[None, None]


def plain_loop(net, image, tile, memory_format=CHANNELS_LAST):
    """Predict tile by tile as one would write it down: probabilities [K, H, W]."""
    plan = TilePlan(image.shape, tile)
    height, width = plan.input_side
    last_y, last_x = plan.output_origins.max(0).values.tolist()
    after = (last_y + height - MARGIN - image.shape[0], last_x + width - MARGIN - image.shape[1])
    padded = mirrored(image, after)
    out_height, out_width = plan.output_side
    result = torch.empty(2, last_y + out_height, last_x + out_width)
    with torch.inference_mode():
        for y, x in plan.output_origins.tolist():
            scores = net(in_layout(padded[..., y : y + height, x : x + width], memory_format))
            result[:, y : y + out_height, x : x + out_width] = scores.softmax(1)[0]
    return result[:, : image.shape[0], : image.shape[1]].numpy()


def monai(net, image, tile, **options):
    """Predict with MONAI's sliding window."""
    from monai.inferers import sliding_window_inference  # noqa: PLC0415

    def padded(window):
        return net(in_layout(F.pad(window, (MARGIN,) * 4, mode="reflect"), CHANNELS_LAST)).softmax(1)

    whole, side = torch.from_numpy(image)[None, None], tile - 2 * MARGIN
    with torch.inference_mode():
        return sliding_window_inference(whole, side, 1, padded, **options)[0].numpy()


def rivals(base, tile, image, *, compiled=False):
    net = network(base).eval()
    plain, last = twin(net, NCHW), twin(net, CHANNELS_LAST)
    calls = {
        OURS: lambda: predict(net, image, tile, probabilities=True),
        "PyTorch loop NCHW": lambda: plain_loop(plain, image, tile, NCHW),
        "PyTorch loop channels_last": lambda: plain_loop(last, image, tile),
    }
    if compiled:
        peer = forms.compiled(last)
        calls["PyTorch loop torch.compile channels_last"] = lambda: plain_loop(peer, image, tile)
    if peers.installed("MONAI"):
        calls["MONAI"] = lambda: monai(last, image, tile, overlap=0.25, mode="gaussian")
        calls["MONAI, no overlap"] = lambda: monai(last, image, tile, overlap=0)
    return calls


def image_of(side):
    return np.random.default_rng(0).random((side, side), dtype=np.float32)


def whole_pass(base, image):
    size = tuple(legal_side(side) for side in image.shape)
    after = tuple(full - side - MARGIN for full, side in zip(size, image.shape, strict=True))
    with torch.inference_mode():
        return (
            network(base, "torch").eval()(mirrored(image, after)).softmax(1)[0, :, : image.shape[0], : image.shape[1]]
        )


def seam_error(found, whole):
    """Return the largest difference from the pass over the whole image."""
    return float(np.abs(found - whole.numpy()).max())


@pytest.mark.parametrize(("base", "tile", "side"), [(16, 572, 1164), (64, 572, 776)])
def test_stitched(compare, benchmark, quick, dear, within, base, tile, side):
    within(base, 16, 64)
    if quick:
        base, tile, side = 4, 332, 200
    image = image_of(side)
    calls, whole = rivals(base, tile, image, compiled=dear.compiled), whole_pass(base, image)
    seams = {name: seam_error(call(), whole) for name, call in calls.items()}
    assert max(error for name, error in seams.items() if not name.startswith("MONAI")) < 1e-4
    # MONAI's windows are another method, with seams: what is reported is how far apart the two are.
    plan = TilePlan(image.shape, tile)
    compare(
        calls,
        group="stitched",
        agreement=close(1e-4),
        exceptions=dict.fromkeys((name for name in calls if name.startswith("MONAI")), close(1.0)),
        gflop=len(plan.output_origins) * direct_gflop(base, tile),
    )
    benchmark.extra_info["seams"] = seams


@pytest.mark.skipif(not STATUS.exists(), reason="no /proc/self/status")
@pytest.mark.parametrize("side", [1164, 3104])
def test_stitched_memory(benchmark, quick, within, side):
    within(side, 1164, 1552)
    base, tile, side = (4, 332, 200) if quick else (16, 572, side)
    names = list(rivals(4, 188, image_of(8)))
    peaks = {name: measure(name, base, tile, side) for name in names if name != OURS}
    benchmark.group = "memory"
    benchmark.extra_info["megabytes"] = {OURS: benchmark.pedantic(measure, (OURS, base, tile, side))} | peaks
    assert min(benchmark.extra_info["megabytes"].values()) > 8e-6 * side**2  # the result at least has been there


def measure(name, base, tile, side):
    """Return by how many megabytes a call raises the peak of a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_stitched", name, *map(str, (base, tile, side))],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


if __name__ == "__main__":
    call = rivals(*map(int, sys.argv[2:4]), image_of(int(sys.argv[4])))[sys.argv[1]]
    before = kilobytes("VmRSS")
    call()
    print((kilobytes("VmHWM") - before) / 1e3)
