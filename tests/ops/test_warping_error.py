"""warping_error: greedy simple-point warping of the truth and the types of what is left."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from unet_fast import ops, reference

MERGE, SPLIT, HOLE_ADDITION, HOLE_DELETION, OBJECT_ADDITION, OBJECT_DELETION = range(6)
HALF = torch.tensor([0.5])


@pytest.fixture
def cpu(device):
    """Each instruction set in turn."""
    if device.type != "cpu":
        pytest.skip("warping_error exists on the CPU only")
    return device


def blobs(shape, rng, scale):
    return ndimage.gaussian_filter(rng.normal(size=shape), (0, scale, scale))


def random_pair(rng, shape, levels=None):
    """A random truth, and a probability that resembles it more or less; with `levels`, of few values (many ties)."""
    scale = rng.uniform(0.3, 2)
    height = blobs(shape, rng, scale)
    probability = height * rng.uniform(0, 2) + blobs(shape, rng, scale)
    probability = (probability - probability.min()) / (np.ptp(probability) + 1e-9)
    if levels:
        probability = np.round(probability * levels) / levels
    return torch.from_numpy(height > 0), torch.from_numpy(probability).float()


def assert_equal(ours, expected):
    for name, a, b in zip(ours._fields, ours, expected, strict=True):
        assert torch.equal(a, b), name


def image(*rows):
    return torch.tensor([[[char == "#" for char in row] for row in rows]])


def test_by_eye(cpu):
    # A membrane that moves by a pixel is followed, except where the proposal has a gap, which joins two objects.
    truth = image("##.###", "##.###", "##.###", "##.###", "##.###")
    proposal = image("###.##", "###.##", "######", "###.##", "###.##")
    result = ops.warping_error(truth, proposal.float(), HALF)
    assert result.counts.tolist() == [[[1, 0, 0, 0, 0, 0]]]
    assert result.residual.nonzero().tolist() == [[0, 0, 2, 2]]
    assert torch.equal(result.warped[0].bool(), image("###.##", "###.##", "##.###", "###.##", "###.##"))


@pytest.mark.parametrize(
    ("truth", "proposal", "type_"),
    [
        (("...", "#.#", "..."), ("...", "###", "..."), MERGE),
        (("...", "###", "..."), ("...", "#.#", "..."), SPLIT),
        (("###", "###", "###"), ("###", "#.#", "###"), HOLE_ADDITION),
        (("###", "#.#", "###"), ("###", "###", "###"), HOLE_DELETION),
        (("...", "...", "..."), ("...", ".#.", "..."), OBJECT_ADDITION),
        (("...", ".#.", "..."), ("...", "...", "..."), OBJECT_DELETION),
        (("##..", "#.##", "#..#", "####"), ("##..", "####", "#..#", "####"), HOLE_ADDITION),
    ],
)
def test_types(cpu, truth, proposal, type_):
    counts = ops.warping_error(image(*truth), image(*proposal).float(), HALF).counts
    assert counts.nonzero().tolist() == [[0, 0, type_]]
    assert counts.sum() == 1


def test_split_is_decided_in_the_window(cpu):
    # A ring of 9x9: cutting it at one pixel leaves it in one piece, seen whole; the window of radius 2 sees two ends.
    truth = torch.zeros(1, 11, 11, dtype=torch.bool)
    truth[:, 1:10, 1:10] = True
    truth[:, 2:9, 2:9] = False
    proposal = truth.clone()
    proposal[:, 5, 1] = False
    for radius, type_ in [(2, SPLIT), (20, HOLE_DELETION), (-1, HOLE_DELETION)]:
        counts = ops.warping_error(truth, proposal.float(), HALF, radius=radius).counts
        assert counts.nonzero().tolist() == [[0, 0, type_]]


def test_simple_points(cpu):
    # Every 3x3 patch, isolated, against its own copy with the centre flipped: it can be warped where that is simple.
    bits = (torch.arange(512)[:, None] >> torch.arange(9)) & 1
    truth = bits.reshape(512, 3, 3).bool()
    proposal = truth.clone()
    proposal[:, 1, 1] ^= True
    simple = ops.warping_error(truth, proposal.float(), HALF).counts.sum((1, 2)) == 0
    patches = truth.byte().numpy()
    assert simple.tolist() == [reference.is_simple(patch.tobytes()) for patch in patches]
    assert simple.sum() == 232
    assert simple[truth[:, 1, 1]].sum() == 116


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (2, 2), (15, 16), (17, 33), (31, 24)])
@pytest.mark.parametrize("levels", [None, 4])
def test_equals_reference(cpu, size, levels):
    rng = np.random.default_rng(sum(size))
    thresholds = torch.tensor([0.0, 0.25, 0.4, 0.5, 0.6, 1.0])
    for radius in (20, 1, 3, -1):
        truth, probability = random_pair(rng, (3, *size), levels)
        mask = torch.from_numpy(rng.random((3, *size)) < 0.8)
        for m in (None, mask):
            result = ops.warping_error(truth, probability, thresholds, mask=m, radius=radius)
            assert_equal(result, reference.warping_error(truth, probability, thresholds, mask=m, radius=radius))


def test_equals_reference_on_many_images():
    rng = np.random.default_rng(1)
    for i in range(300):
        truth, probability = random_pair(rng, (1, *rng.integers(3, 30, 2)), levels=3 if i % 3 == 0 else None)
        thresholds = torch.rand(2, generator=torch.Generator().manual_seed(i))
        assert_equal(
            ops.warping_error(truth, probability, thresholds), reference.warping_error(truth, probability, thresholds)
        )


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("radius", [-1, 1, 4, 20])
def test_equals_reference_on_noise(cpu, share, radius):
    # Crumbs and holes of every shape, most of them with a way round outside the window or past a lone corner.
    rng = np.random.default_rng(5)
    truth = torch.from_numpy(rng.random((4, 45, 58)) < share)
    probability = torch.from_numpy(rng.random(truth.shape)).float()
    probability[2:] = (8 * probability[2:]).round() / 8
    thresholds = torch.tensor([0.1, 0.5, 0.75, 0.9])
    assert_equal(
        ops.warping_error(truth, probability, thresholds, radius=radius),
        reference.warping_error(truth, probability, thresholds, radius=radius),
    )


def test_equals_reference_on_membranes(shared_data, cpu):
    tifffile = pytest.importorskip("tifffile")
    truth = torch.from_numpy(tifffile.imread(shared_data / "isbi2012" / "train-labels.tif")[:3, 100:196, 200:280])
    volume = tifffile.imread(shared_data / "isbi2012" / "train-volume.tif")[:3, 100:196, 200:280]
    probability = torch.from_numpy(ndimage.gaussian_filter(volume / np.float32(255), (0, 1.5, 1.5)))
    thresholds = torch.tensor([0.3, 0.5])
    assert_equal(
        ops.warping_error(truth, probability, thresholds), reference.warping_error(truth, probability, thresholds)
    )


def test_same_bits_whatever_the_threads(cpu):
    truth, probability = random_pair(np.random.default_rng(2), (5, 40, 30))
    thresholds = torch.arange(10) / 10
    first = ops.warping_error(truth, probability, thresholds)
    assert_equal(ops.warping_error(truth, probability, thresholds), first)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_equal(ops.warping_error(truth, probability, thresholds), first)
    finally:
        torch.set_num_threads(threads)


def test_strided_arguments(cpu):
    truth, probability = random_pair(np.random.default_rng(3), (4, 30, 40))
    mask = torch.rand(40, 30, generator=torch.Generator().manual_seed(0)) < 0.9
    arguments = (truth.mT[::2, ::2], probability.mT[::2, ::2], torch.arange(8)[::4] / 8)
    expected = ops.warping_error(*(a.contiguous() for a in arguments))
    assert_equal(ops.warping_error(*arguments), expected)
    half = mask[::2].expand(2, -1, -1)
    assert_equal(ops.warping_error(*arguments, mask=half), ops.warping_error(*arguments, mask=half.contiguous()))


def test_truth_of_any_positive_value(cpu):
    truth, probability = random_pair(np.random.default_rng(4), (1, 20, 20))
    for other in (truth.byte(), truth.byte() * 255):
        assert_equal(ops.warping_error(other, probability, HALF), ops.warping_error(truth, probability, HALF))


def test_without_maps(cpu):
    truth, probability = random_pair(np.random.default_rng(5), (2, 20, 20))
    counts, residual, warped = ops.warping_error(truth, probability, HALF, maps=False)
    assert torch.equal(counts, ops.warping_error(truth, probability, HALF).counts)
    assert residual.shape == warped.shape == (2, 1, 0, 0)


@pytest.mark.parametrize(("shape", "levels"), [((0, 5, 5), 2), ((2, 5, 5), 0), ((2, 0, 5), 1), ((2, 5, 0), 1)])
def test_empty(cpu, shape, levels):
    truth = torch.zeros(shape, dtype=torch.bool)
    result = ops.warping_error(truth, truth.float(), torch.zeros(levels))
    assert result.residual.shape == (shape[0], levels, *shape[1:])
    assert result.counts.shape == (shape[0], levels, 6)
    assert result.counts.sum() == 0


def test_opcheck():
    truth, probability = random_pair(np.random.default_rng(6), (2, 9, 8))
    for mask, maps in ((None, True), (truth, False)):
        arguments = (truth, probability, torch.tensor([0.2, 0.5]), mask, 20, maps)
        torch.library.opcheck(torch.ops.unet_fast.warping_error.default, arguments)


def test_compiles_without_graph_break():
    truth, probability = random_pair(np.random.default_rng(7), (2, 9, 8))
    compiled = torch.compile(lambda t, p: ops.warping_error(t, p, HALF).counts * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(truth, probability), ops.warping_error(truth, probability, HALF).counts * 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"truth": torch.zeros(5, 5)},
            ValueError,
            r"truth, thresholds: wanted shapes \[Z, H, W\] and \[S\], got \[5, 5\]",
        ),
        ({"truth": torch.zeros(1, 5, 5)}, TypeError, "truth: wanted dtype bool.* or uint8, got float32"),
        ({"probability": torch.zeros(1, 5, 6)}, ValueError, r"probability: wanted shape \[1, 5, 5\], got \[1, 5, 6\]"),
        ({"probability": torch.zeros(1, 5, 5).double()}, TypeError, "probability: wanted dtype float32, got float64"),
        ({"thresholds": torch.tensor(0.5)}, ValueError, r"truth, thresholds: .* got \[1, 5, 5\] and \[\]"),
        ({"thresholds": torch.tensor([1])}, TypeError, "thresholds: wanted dtype float32, got int64"),
        ({"mask": torch.ones(5, 5).bool()}, ValueError, r"mask: wanted shape \[1, 5, 5\], got \[5, 5\]"),
        ({"radius": 0}, ValueError, r"radius: wanted at least 1 pixel, or -1 \(the whole image\), got 0"),
    ],
)
def test_errors(change, error, message):
    zeros = torch.zeros(1, 5, 5)
    arguments = {"truth": zeros.bool(), "probability": zeros, "thresholds": HALF} | change
    with pytest.raises(error, match="warping_error: " + message):
        ops.warping_error(**arguments)


def test_cuda_is_refused_by_name(device):
    if device.type != "cuda":
        pytest.skip("no CUDA device")
    zeros = torch.zeros(1, 5, 5, device=device)
    with pytest.raises(ValueError, match=r"truth: wanted a CPU tensor .*no CUDA kernel.*, got cuda:"):
        ops.warping_error(zeros.bool(), zeros, HALF.to(device))
