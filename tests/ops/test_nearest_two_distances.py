"""nearest_two_distances: exact Euclidean distances to the two nearest instances."""

import numpy as np
import pytest
import tifffile
import torch

from tests.instances import LABEL_DTYPES, SIZES, edt_two_nearest, noise_labels, random_labels
from unet_fast import ops, reference

# Around a band of 32 rows, a strip of 64 columns and a segment of 64 rows.
BAND_SIZES = [(31, 65), (32, 127), (33, 129), (63, 64), (65, 30), (97, 200)]


def assert_exact(labels: torch.Tensor, expected_of: np.ndarray, device: torch.device) -> None:
    """Compare the distances in `labels` with one EDT per instance of `expected_of`, bit for bit."""
    d1, d2 = ops.nearest_two_distances(labels.to(device))
    expected = [edt_two_nearest(image) for image in expected_of]
    np.testing.assert_array_equal(d1.cpu().numpy(), np.stack([one for one, _ in expected]).astype(np.float32))
    np.testing.assert_array_equal(d2.cpu().numpy(), np.stack([two for _, two in expected]).astype(np.float32))


def test_by_eye(device):
    labels = torch.tensor([[[0, 0, 0, 7], [5, 0, 0, 0], [0, 0, 0, 0]]], device=device)
    d1, d2 = ops.nearest_two_distances(labels)
    two, five, ten = 2**0.5, 5**0.5, 10**0.5
    torch.testing.assert_close(d1.cpu(), torch.tensor([[[1, two, 1, 0], [0, 1, two, 1], [1, two, five, 2]]]))
    torch.testing.assert_close(
        d2.cpu(), torch.tensor([[[3, 2, five, ten], [ten, five, 2, 3], [13**0.5, 8**0.5, five, ten]]])
    )


@pytest.mark.parametrize("instances", [0, 1, 2, 3, 200])
@pytest.mark.parametrize("size", SIZES + BAND_SIZES)
def test_equals_distance_transforms(device, generator, size, instances):
    labels = random_labels((2, *size), max(instances, 1), generator, 0.8) * (instances > 0)
    assert_exact(labels, labels.numpy(), device)


@pytest.mark.parametrize("size", [(33, 65), (64, 40)])
def test_equals_distance_transforms_of_noise(device, generator, size):
    labels = noise_labels((2, *size), 9, generator) * (torch.rand((2, *size), generator=generator) < 0.02)
    assert_exact(labels, labels.numpy(), device)


def test_far_apart(device):
    labels = torch.zeros(1, 40, 700, dtype=torch.uint8)
    labels[0, 3, 2], labels[0, 39, 699] = 1, 2
    assert_exact(labels, labels.numpy(), device)


@pytest.mark.parametrize("width", [640, 700, 703])
@pytest.mark.parametrize("cells", [1, 2, 3])
def test_few_pixels_in_an_empty_image(device, generator, width, cells):
    """Searched along the envelopes of a row: instances at the edges of strips, and on either side of a pixel."""
    for columns in ([0, 63, 64], [64, 575, 639], [127, 128, 320], [639, 300, 63], [320, 321, 0]):
        labels = torch.zeros(1, 40, width, dtype=torch.int32)
        for cell, x in enumerate(columns[:cells], start=1):
            labels[0, (11 * cell * cell) % 40, x] = cell
        assert_exact(labels, labels.numpy(), device)


def adversarial_layouts() -> dict[str, torch.Tensor]:
    """Instances to which the search along a row has far to go, or that lie at one distance."""
    y, x = torch.meshgrid(torch.arange(96), torch.arange(900), indexing="ij")
    return {
        "a diagonal of single pixels": torch.where(x == 9 * y, y + 1, 0),
        "a column of single pixels": torch.where(x == 0, y + 1, 0),
        "all in one corner": torch.where((y < 8) & (x < 40), 40 * y + x + 1, 0),
        "one instance on either side of another": torch.where(x == 450, 2, (x % 899 == 0).long()),
        "two in turns": torch.where((x % 300 == 7) & (y == 3), 1 + x // 300 % 2, 0),
        "one behind another": torch.where((x == 600) & (y % 40 == 0), 1 + y // 40, 0),
        "symmetric": torch.where((y == 48) & ((x == 400) | (x == 500)), x, 0),
    }


@pytest.mark.parametrize("name", adversarial_layouts())
def test_adversarial_layouts(device, name):
    labels = adversarial_layouts()[name].int()[None]
    d1, d2 = ops.nearest_two_distances(labels.to(device))
    pixels = labels[0].nonzero()
    ids = labels[0][tuple(pixels.T)]
    for y in range(0, 96, 5):  # against all pixels of all instances
        place = torch.stack([torch.full((900,), y), torch.arange(900)], 1)
        squares = (place[:, None] - pixels).square().sum(2)
        of_id = torch.stack([squares[:, ids == i].amin(1) for i in ids.unique()], 1)
        least = torch.cat([of_id, torch.full((900, 1), 1 << 60)], 1).sort(1).values[:, :2].double().sqrt().float()
        infinite = torch.where(least > 1e6, torch.inf, least)
        assert torch.equal(d1[0, y].cpu(), infinite[:, 0])
        assert torch.equal(d2[0, y].cpu(), infinite[:, 1])


@pytest.mark.parametrize("dtype", LABEL_DTYPES)
def test_every_dtype(device, generator, dtype):
    labels = random_labels((2, 50, 70), 30, generator)
    largest = {torch.uint8: 2**8, torch.uint16: 60_000, torch.uint32: 2**32, torch.int32: 2**31, torch.int64: 2**63}
    labels = torch.where(labels > 0, largest[dtype] - labels, 0)
    assert_exact(labels.to(dtype), labels.numpy(), device)


def test_ids_equal_in_their_lower_32_bits(device, generator):
    labels = random_labels((1, 40, 66), 20, generator)
    assert_exact(labels << 32, labels.numpy(), device)
    assert_exact((labels << 32) + (labels > 0), labels.numpy(), device)


def test_ignored_and_negative_labels_are_no_instance(device, generator):
    labels = random_labels((2, 50, 70), 30, generator)
    without = torch.where(labels == 4, 0, labels)
    expected = ops.nearest_two_distances(without.to(device))
    for given, ignore_label in ((labels, 4), (torch.where(labels == 4, -3, labels), None)):
        torch.testing.assert_close(
            ops.nearest_two_distances(given.to(device), ignore_label), expected, rtol=0, atol=0, equal_nan=False
        )


@pytest.mark.parametrize("ignore_label", [None, 3])
@pytest.mark.parametrize("size", [(1, 1), (9, 1), (1, 9), (20, 33), (40, 70)])
def test_equals_reference(device, generator, size, ignore_label):
    labels = random_labels((2, *size), 8, generator, 0.7).to(device)
    expected = reference.nearest_two_distances(labels, ignore_label)
    torch.testing.assert_close(ops.nearest_two_distances(labels, ignore_label), expected, rtol=0, atol=0)


@pytest.mark.parametrize("reach", [0, 1, 2, 7, 20, 33, 100, 1000])
@pytest.mark.parametrize("instances", [1, 2, 12])
def test_reach(device, generator, reach, instances):
    """Cut off, the distances stay exact where their sum is within reach and add up to more elsewhere."""
    labels = random_labels((2, 90, 150), instances, generator, 0.93).to(device)
    d1, d2 = ops.nearest_two_distances(labels)
    cut1, cut2 = torch.ops.unet_fast.nearest_two_distances(labels, None, reach)
    near = d1.double() + d2.double() <= reach
    assert torch.equal(cut1[near], d1[near])
    assert torch.equal(cut2[near], d2[near])
    assert (cut1.double() + cut2.double() > reach)[~near].all()


def test_strided(device, generator):
    labels = random_labels((4, 60, 80), 9, generator).to(device).permute(0, 2, 1)[1:3, ::2, ::3]
    expected = reference.nearest_two_distances(labels)
    torch.testing.assert_close(ops.nearest_two_distances(labels), expected, rtol=0, atol=0)


def test_thread_count_changes_nothing(generator):
    labels = random_labels((3, 150, 90), 9, generator)
    two = ops.nearest_two_distances(labels)
    torch.set_num_threads(1)
    one = ops.nearest_two_distances(labels)
    torch.set_num_threads(2)
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_real_labels(device, shared_data):
    file = sorted((shared_data / "dsb2018_fluo" / "01_GT" / "SEG").glob("man_seg*.tif"))[0]
    labels = tifffile.imread(file)[None, :200, :200]
    assert_exact(torch.from_numpy(labels), labels, device)


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4), (2, 4, 0)])
def test_empty(device, shape):
    d1, d2 = ops.nearest_two_distances(torch.zeros(shape, dtype=torch.int32, device=device))
    assert d1.shape == d2.shape == shape


def test_opcheck(device, generator):
    labels = random_labels((2, 9, 11), 3, generator).to(device)
    torch.library.opcheck(torch.ops.unet_fast.nearest_two_distances.default, (labels, None, None))


def test_compiles_without_graph_break(generator):
    labels = random_labels((2, 9, 11), 3, generator)
    compiled = torch.compile(lambda ids: sum(ops.nearest_two_distances(ids)), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(labels), sum(ops.nearest_two_distances(labels)))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.zeros(5, 5, dtype=torch.int32), ValueError, r"labels: wanted shape \[N, H, W\], got \[5, 5\]"),
        (torch.zeros(1, 5, 5), TypeError, "labels: wanted dtype uint8 or .*int64, got float32"),
        (
            torch.zeros(1, 1, 23171, dtype=torch.uint8),
            ValueError,
            "labels: wanted at most 23170 pixels a side, got 1 x",
        ),
    ],
)
def test_errors(labels, error, message):
    with pytest.raises(error, match="nearest_two_distances: " + message):
        ops.nearest_two_distances(labels)


def test_negative_reach():
    with pytest.raises(ValueError, match="reach: wanted at least 0 pixels, got -1"):
        torch.ops.unet_fast.nearest_two_distances(torch.zeros(1, 5, 5, dtype=torch.int32), None, -1)
