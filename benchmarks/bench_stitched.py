"""A whole image through overlapping tiles: ours against a plain PyTorch loop, and MONAI's sliding window if installed.

All use the same network and weights; the first two the same tiles. MONAI wants a network whose result has the size of
its input: it gets one that mirrors its window, as a network with padding would. Windows overlap by a quarter and are
blended with Gaussian weights, its usual settings. Reported, too: the largest difference from the pass over the whole
image, which shows seams.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import peers
from benchmarks.agreement import close
from benchmarks.bench_memory import STATUS, kilobytes
from benchmarks.conftest import OURS
from benchmarks.networks import NCHW, direct_gflop, network, twin
from unet_fast.geometry import TilePlan, border, legal_side
from unet_fast.predict import predict

MARGIN = border() // 2


def mirrored(image, after):
    """Mirror an image [H, W] at its border; `after`: how far beyond the lower and the right end."""
    return torch.from_numpy(np.pad(image, ((MARGIN, after[0]), (MARGIN, after[1])), "reflect"))[None, None]


def plain_loop(net, image, tile):
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
            scores = net(padded[..., y : y + height, x : x + width])
            result[:, y : y + out_height, x : x + out_width] = scores.softmax(1)[0]
    return result[:, : image.shape[0], : image.shape[1]].numpy()


def monai(net, image, tile):
    """Predict with MONAI's sliding window."""
    from monai.inferers import sliding_window_inference  # noqa: PLC0415

    def padded(window):
        return net(F.pad(window, (MARGIN,) * 4, mode="reflect")).softmax(1)

    whole, side = torch.from_numpy(image)[None, None], tile - 2 * MARGIN
    with torch.inference_mode():
        return sliding_window_inference(whole, side, 1, padded, overlap=0.25, mode="gaussian")[0].numpy()


def rivals(base, tile, image):
    net = network(base).eval()
    plain = twin(net, NCHW).eval()
    calls = {
        OURS: lambda: predict(net, image, tile, probabilities=True),
        "plain PyTorch loop": lambda: plain_loop(plain, image, tile),
    }
    if peers.installed("MONAI"):
        calls["MONAI"] = lambda: monai(plain, image, tile)
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


@pytest.mark.parametrize(("base", "tile", "side"), [(64, 572, 776), (16, 572, 1552)])
def test_stitched(compare, benchmark, quick, base, tile, side):
    if quick:
        base, tile, side = 4, 332, 200
    image = image_of(side)
    calls, whole = rivals(base, tile, image), whole_pass(base, image)
    seams = {name: seam_error(call(), whole) for name, call in calls.items()}
    assert seams[OURS] < 1e-4 and seams["plain PyTorch loop"] < 1e-4
    benchmark.extra_info["seams"] = seams
    print("\nlargest difference from the whole image:", {name: f"{error:.1e}" for name, error in seams.items()})
    # MONAI's blended windows are another method, with seams: what is reported is how far apart the two are.
    plan = TilePlan(image.shape, tile)
    compare(
        calls,
        group="stitched",
        agreement=close(1e-4),
        exceptions={"MONAI": close(1.0)} if "MONAI" in calls else {},
        gflop=len(plan.output_origins) * direct_gflop(base, tile),
        rounds=3,
    )


@pytest.mark.skipif(not STATUS.exists(), reason="no /proc/self/status")
def test_stitched_memory(benchmark, quick):
    base, tile, side = (4, 332, 200) if quick else (16, 572, 3104)
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
