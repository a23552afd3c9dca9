"""weight_map: equation (2) of the paper."""

import math

import numpy as np
import pytest
import tifffile
import torch

from tests.instances import LABEL_DTYPES, SIZES, edt_two_nearest, noise_labels, random_labels, scan_gap
from unet_fast import ops, reference

BALANCE = torch.tensor([0.5, 2.0])


def half_planes(gap: int, side: int = 40) -> torch.Tensor:
    """Two instances with `gap` columns of background between them."""
    labels = torch.zeros(1, side, 2 * side + gap, dtype=torch.int32)
    labels[..., :side], labels[..., side + gap :] = 3, 8
    return labels


def plain_weights(labels: np.ndarray, classes: np.ndarray, class_weight: np.ndarray, border: float, sigma: float):
    """Equation (2) of one image in float64; the second term where the class is 0."""
    d1, d2 = edt_two_nearest(labels)
    term = border * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    return np.where(classes == 255, 0, class_weight[classes % 255] + term * (classes == 0))


@pytest.mark.parametrize(("gap", "term"), [(1, 9.23116), (2, 8.35270), (10, 0.88922)])
def test_two_half_planes(device, gap, term):
    weights = ops.weight_map(half_planes(gap).to(device), BALANCE.to(device))
    inside = weights[..., 40 : 40 + gap].cpu()
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5 + term), rtol=0, atol=5e-6)
    assert (weights[..., :40] == 2).all()
    assert (weights[..., 40 + gap :] == 2).all()


def test_touching_half_planes(device):
    labels = half_planes(0).to(device)
    scan, full8, uncut = (
        ops.weight_map(labels, BALANCE.to(device), gap=gap)[0, 20] for gap in ("scan", "full8", "none")
    )
    term = 10 * math.exp(-1 / 50)  # d1 = 0 and d2 = 1 in the map before the gap is cut
    torch.testing.assert_close(scan[39:41].cpu(), torch.tensor([2, 0.5 + term]))
    torch.testing.assert_close(full8[39:41].cpu(), torch.tensor([0.5 + term, 0.5 + term]))
    assert (uncut == 2).all()
    everywhere = ops.weight_map(labels, BALANCE.to(device), gap="none", where="everywhere")[0, 20]
    torch.testing.assert_close(everywhere[39:41].cpu(), torch.tensor([2 + term, 2 + term]))


@pytest.mark.parametrize("instances", [0, 1])
def test_fewer_than_two_instances(device, generator, instances):
    labels = random_labels((1, 50, 70), 1, generator, 0.8) * instances
    weights = ops.weight_map(labels.to(device), BALANCE.to(device), where="everywhere", sigma=1e4)
    torch.testing.assert_close(weights.cpu(), BALANCE[(labels > 0).long()], rtol=0, atol=0)


@pytest.mark.parametrize("background", [0.3, 0.9])
@pytest.mark.parametrize("instances", [2, 40])
@pytest.mark.parametrize(("border", "sigma"), [(10, 5), (50, 6), (1, 0.5), (3, 40)])
def test_equals_distance_transforms(device, generator, instances, background, border, sigma):
    labels = random_labels((2, 90, 170), instances, generator, background)
    weights = ops.weight_map(labels.to(device), BALANCE.to(device), border, sigma)
    for image, got in zip(labels.numpy(), weights.cpu().numpy(), strict=True):
        classes = (scan_gap(image) > 0).astype(np.uint8)
        expected = plain_weights(image, classes, BALANCE.numpy().astype(np.float64), border, sigma)
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("class_weight", [[1.0, 0.0], [1e-6, 1.0], [0.0, 1.0], [300.0, 1.0]])
@pytest.mark.parametrize(("border", "sigma"), [(10, 5), (0.3, 2)])
def test_search_ends_where_the_term_changes_nothing(device, class_weight, border, sigma):
    """In a widening gap, compare with the unlimited distances in float64, down to the least normal float32 weight.

    An exponent of up to 87 is rounded to 24 bits, hence the relative tolerance.
    """
    y, x = torch.arange(64)[:, None], torch.arange(400)
    labels = ((x < 200 - 3 * y) + 2 * (x > 200 + 3 * y)).to(torch.int32)[None].to(device)
    weights = ops.weight_map(labels, torch.tensor(class_weight, device=device), border, sigma)
    total = sum(distance.double() for distance in ops.nearest_two_distances(labels))
    expected = class_weight[0] + border * torch.exp(-(total**2) / (2 * sigma**2))
    background = (ops.target_classes(labels) == 0) & (expected > 1e-37)  # normal float32 numbers
    assert total[background].max() > 6 * sigma
    torch.testing.assert_close(weights[background].double(), expected[background], rtol=5e-5, atol=0)
    spacing = class_weight[0] * 2**-23
    far = border * torch.exp(-(total**2) / (2 * sigma**2)) < spacing / 8
    assert (weights[(ops.target_classes(labels) == 0) & far] == torch.tensor(class_weight[0])).all()


@pytest.mark.parametrize("gap", ["scan", "full8", "none"])
@pytest.mark.parametrize("where", ["background", "everywhere"])
@pytest.mark.parametrize("dtype", LABEL_DTYPES)
@pytest.mark.parametrize("ignore_label", [None, 3])
def test_equals_reference(device, generator, gap, where, dtype, ignore_label):
    labels = random_labels((2, 40, 70), 9, generator, 0.6).to(dtype).to(device)
    weights = ops.weight_map(labels, BALANCE.to(device), gap=gap, where=where, ignore_label=ignore_label)
    expected = reference.weight_map(labels, BALANCE.to(device), gap=gap, where=where, ignore_label=ignore_label)
    torch.testing.assert_close(weights, expected, rtol=2e-6, atol=0)
    if ignore_label is not None:
        assert (weights[labels.long() == ignore_label] == 0).all()


@pytest.mark.parametrize("size", SIZES)
def test_every_size(device, generator, size):
    labels = random_labels((3, *size), 6, generator, 0.6).to(device)
    weights = ops.weight_map(labels, BALANCE.to(device))
    torch.testing.assert_close(weights, reference.weight_map(labels, BALANCE.to(device)), rtol=2e-6, atol=0)


def test_given_classes(device, generator):
    labels = random_labels((2, 40, 70), 9, generator, 0.6).to(device)
    classes = noise_labels((2, 40, 70), 2, generator).to(torch.uint8)
    classes[0, :5], classes = 255, classes.to(device)
    class_weight = torch.tensor([0.1, 1, 7], device=device)
    for ignore_label in (None, 5):
        weights = ops.weight_map(labels, class_weight, ignore_label=ignore_label, classes=classes)
        expected = reference.weight_map(labels, class_weight, ignore_label=ignore_label, classes=classes)
        torch.testing.assert_close(weights, expected, rtol=2e-6, atol=0)
        assert (weights[0, :5] == 0).all()


def test_strided(device, generator):
    labels = random_labels((4, 60, 80), 9, generator).to(device).permute(0, 2, 1)[1:3, ::2, ::3]
    class_weight = torch.tensor([1.0, 9, 2], device=device)[::2]
    expected = reference.weight_map(labels, class_weight)
    torch.testing.assert_close(ops.weight_map(labels, class_weight), expected, rtol=2e-6, atol=0)


def test_thread_count_changes_nothing(generator):
    labels = random_labels((3, 150, 90), 19, generator)
    two = ops.weight_map(labels, BALANCE)
    assert torch.equal(ops.weight_map(labels, BALANCE), two)
    torch.set_num_threads(1)
    one = ops.weight_map(labels, BALANCE)
    torch.set_num_threads(2)
    assert torch.equal(one, two)


def test_real_labels(device, shared_data):
    file = sorted((shared_data / "dsb2018_fluo" / "01_GT" / "SEG").glob("man_seg*.tif"))[0]
    labels = tifffile.imread(file)[:200, :200]
    weights = ops.weight_map(torch.from_numpy(labels)[None].to(device), BALANCE.to(device))
    classes = (scan_gap(labels) > 0).astype(np.uint8)
    expected = plain_weights(labels, classes, BALANCE.numpy().astype(np.float64), 10, 5)
    np.testing.assert_allclose(weights[0].cpu().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4), (2, 4, 0)])
def test_empty(device, shape):
    labels = torch.zeros(shape, dtype=torch.int32, device=device)
    assert ops.weight_map(labels, BALANCE.to(device)).shape == shape


def test_opcheck(device, generator):
    labels = random_labels((2, 9, 11), 3, generator).to(device)
    classes = ops.target_classes(labels)
    args = (labels, BALANCE.to(device), classes, 10.0, 5.0, "background", None)
    torch.library.opcheck(torch.ops.unet_fast.weight_map.default, args)


def test_compiles_without_graph_break(generator):
    labels = random_labels((2, 9, 11), 3, generator)
    compiled = torch.compile(lambda ids: ops.weight_map(ids, BALANCE) * 2, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(labels), ops.weight_map(labels, BALANCE) * 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": torch.zeros(1, 1, 30000).byte()}, ValueError, "labels: wanted at most 23170 pixels a side"),
        ({"class_weight": torch.ones(2, 2)}, ValueError, r"class_weight: wanted shape \[K\], got \[2, 2\]"),
        ({"class_weight": torch.ones(256)}, ValueError, r"class_weight: wanted 1 to 255 classes, got \[256\]"),
        ({"class_weight": torch.ones(2).double()}, TypeError, "class_weight: wanted dtype float32, got float64"),
        ({"border": -1}, ValueError, "border: wanted a finite number, at least 0, got -1"),
        ({"border": math.inf}, ValueError, "border: wanted a finite number, at least 0, got inf"),
        ({"sigma": 0}, ValueError, "sigma: wanted a finite number above 0, got 0"),
        ({"where": "nowhere"}, ValueError, "where: wanted background or everywhere, got nowhere"),
        ({"classes": torch.zeros(1, 5, 4, dtype=torch.uint8)}, ValueError, r"classes: wanted shape \[1, 5, 5\]"),
        ({"classes": torch.zeros(1, 5, 5)}, TypeError, "classes: wanted dtype uint8, got float32"),
        ({"classes": torch.full((1, 5, 5), 2).byte()}, ValueError, "classes: wanted 0 to 1 or 255, got 2"),
    ],
)
def test_errors(change, error, message):
    arguments = {"labels": torch.zeros(1, 5, 5, dtype=torch.int32), "class_weight": torch.ones(2)} | change
    with pytest.raises(error, match="weight_map: " + message):
        ops.weight_map(**arguments)


def test_class_without_weight_on_cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    labels, classes = torch.zeros(1, 1, 2, dtype=torch.int32), torch.tensor([[[0, 2]]], dtype=torch.uint8)
    weights = ops.weight_map(labels.cuda(), BALANCE.cuda(), classes=classes.cuda()).cpu()
    torch.testing.assert_close(weights, torch.tensor([[[0.5, math.nan]]]), equal_nan=True)
