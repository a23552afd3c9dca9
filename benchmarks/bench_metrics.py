"""The challenges' metrics and the objects of a mask, against packages that compute the same numbers.

SEG against py-ctcmetrics, both from the files of a sequence; the Rand error against scikit-image's adapted_rand_error,
which is the N-choose-2 form where the proposal's membranes lie within the truth's (else it takes them for one more
object); 4-connected objects against scikit-image's label.
"""

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from benchmarks import peers
from benchmarks.agreement import EQUAL, close
from benchmarks.bench_warping_error import interiors
from benchmarks.conftest import OURS
from benchmarks.instances import cells
from unet_fast.instances import label_instances
from unet_fast.metrics import ctc, em

FRAMES = 3


def needs(peer):
    reason = f'{peer} is not installed: pip install ".[bench]"'
    return pytest.mark.skipif(not peers.installed(peer), reason=reason)


@needs("py-ctcmetrics")
@pytest.mark.parametrize(("count", "side"), [(60, 512), (1000, 1024)])
def test_seg(compare, tmp_path, count, side):
    from ctc_metrics.metrics.technical.seg import seg  # noqa: PLC0415
    from ctc_metrics.utils.representations import match  # noqa: PLC0415

    rng, files = np.random.default_rng(0), []
    for frame in range(FRAMES):
        truth = cells(count, side, frame)[0].numpy().astype(np.uint16)
        found = np.where(rng.random(count + 1)[truth] < 0.9, np.roll(truth, 2, 0), 0).astype(np.uint16)
        files.append((tmp_path / f"man_seg{frame:03}.tif", tmp_path / f"mask{frame:03}.tif"))
        for file, labels in zip(files[-1], (truth, found), strict=True):
            tifffile.imwrite(file, labels)

    def ours():
        frames = [[tifffile.imread(file) for file in pair] for pair in files]
        return ctc.seg(*zip(*frames, strict=True))

    def peer():
        matched = [match(str(truth), str(found)) for truth, found in files]
        return seg([one[0] for one in matched], [one[4] for one in matched])

    moved = 2 * 2 * FRAMES * side**2 / 1e9
    compare({OURS: ours, "py-ctcmetrics": peer}, group="SEG", agreement=close(1e-12), gbyte=moved)


@needs("scikit-image")
def test_rand_error(compare):
    from skimage.measure import label  # noqa: PLC0415
    from skimage.metrics import adapted_rand_error  # noqa: PLC0415

    truth = interiors(512, np.random.default_rng(0))
    gaps = ndimage.maximum_filter(np.random.default_rng(0).random(truth.shape) > 0.999, 5)
    proposal = (truth | gaps).astype(np.float32)

    def peer():
        cells_of_truth, found = label(truth, connectivity=1), label(proposal > 0.5, connectivity=1)
        return adapted_rand_error(cells_of_truth, found)[0]

    compare(
        {OURS: lambda: em.rand_error(truth, proposal, (0.5,), "n_choose_2"), "scikit-image": peer},
        group="Rand error",
        agreement=close(1e-9),
        gbyte=truth.size * (1 + 4) / 1e9,
    )


@needs("scikit-image")
@pytest.mark.parametrize("side", [512, 2048])
def test_label_instances(compare, side):
    from skimage.measure import label  # noqa: PLC0415

    mask = cells(side * side // 600, side)[0].numpy() > 0

    def ours():
        return torch.from_numpy(label_instances(mask, gap=0))

    def peer():
        return torch.from_numpy(label(mask, connectivity=1).astype(np.int32))

    compare({OURS: ours, "scikit-image": peer}, group="label_instances", agreement=EQUAL, gbyte=5e-9 * side**2)
