"""target_classes: classes of an instance map, and the ridge between touching instances."""

import numpy as np
import pytest
import tifffile
import torch

from tests.instances import LABEL_DTYPES, SIZES, noise_labels, random_labels, scan_gap
from unet_fast import ops, reference

GAPS = ["scan", "full8", "none"]


def test_by_eye(device):
    labels = torch.tensor([[[1, 1, 2, 2], [1, 1, 2, 2], [0, 3, 3, 0], [7, 0, 3, 9]]], device=device)
    assert ops.target_classes(labels).tolist() == [[[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 0]]]
    assert ops.target_classes(labels, "full8").tolist() == [[[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]
    assert ops.target_classes(labels, "none").tolist() == [[[1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 1, 1]]]
    ignored = ops.target_classes(labels, "scan", ignore_label=2)
    assert ignored.tolist() == [[[1, 1, 255, 255], [1, 1, 255, 255], [0, 0, 0, 0], [1, 0, 1, 0]]]


@pytest.mark.parametrize("ids", [2, 3, 200])
@pytest.mark.parametrize("size", SIZES)
def test_scan_equals_plain_loop(device, generator, size, ids):
    for labels in (noise_labels((2, *size), ids, generator), random_labels((2, *size), ids, generator)):
        classes = ops.target_classes(labels.to(device))
        expected = np.stack([scan_gap(image) > 0 for image in labels.numpy()])
        np.testing.assert_array_equal(classes.cpu().numpy(), expected.astype(np.uint8))


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("ignore_label", [None, 2])
@pytest.mark.parametrize(
    ("size", "dtype"), [*((size, torch.int32) for size in SIZES), *(((17, 99), dtype) for dtype in LABEL_DTYPES)]
)
def test_equals_reference(device, generator, gap, ignore_label, size, dtype):
    labels = noise_labels((3, *size), 4, generator)
    labels = torch.where(random_labels((3, *size), 9, generator, 0.7) > 0, labels, 0).to(dtype).to(device)
    classes = ops.target_classes(labels, gap, ignore_label)
    assert classes.dtype == torch.uint8
    torch.testing.assert_close(classes, reference.target_classes(labels, gap, ignore_label), rtol=0, atol=0)


@pytest.mark.parametrize("gap", GAPS)
def test_large_and_negative_ids(device, generator, gap):
    small = noise_labels((1, 40, 70), 3, generator)
    ids = torch.tensor([-1, 2**40, 2**40 + 2**32, 2**32])  # equal to 0 or to each other in their lower 32 bits
    classes = ops.target_classes(ids[small].to(device), gap, ignore_label=-1)
    expected = ops.target_classes(small, gap)
    torch.testing.assert_close(classes.cpu(), torch.where(small == 0, 255, expected), rtol=0, atol=0)
    assert ops.target_classes(ids[small].to(device), gap).max() <= 1


def test_uint32_ids_above_int32(device):
    labels = torch.tensor([[[2**32 - 1, 2**31, 0, 1]]], dtype=torch.uint32, device=device)
    assert ops.target_classes(labels).tolist() == [[[1, 0, 0, 1]]]
    assert ops.target_classes(labels, ignore_label=-1).tolist() == [[[1, 0, 0, 1]]]
    assert ops.target_classes(labels, ignore_label=2**31).tolist() == [[[1, 255, 0, 1]]]


def test_strided(device, generator):
    labels = noise_labels((64, 80, 3), 5, generator).to(device).permute(2, 0, 1)[:, ::2, ::3]
    torch.testing.assert_close(ops.target_classes(labels), reference.target_classes(labels), rtol=0, atol=0)


def test_thread_count_changes_nothing(generator):
    labels = noise_labels((2, 150, 90), 5, generator)
    two = ops.target_classes(labels)
    torch.set_num_threads(1)
    one = ops.target_classes(labels)
    torch.set_num_threads(2)
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_real_labels(device, shared_data):
    for file in sorted((shared_data / "dsb2018_fluo" / "01_GT" / "SEG").glob("man_seg*.tif"))[:3]:
        labels = tifffile.imread(file)[:200, :200]
        classes = ops.target_classes(torch.from_numpy(labels)[None].to(device))
        np.testing.assert_array_equal(classes[0].cpu().numpy(), (scan_gap(labels) > 0).astype(np.uint8))


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4), (2, 4, 0)])
def test_empty(device, gap, shape):
    assert ops.target_classes(torch.zeros(shape, dtype=torch.int32, device=device), gap).shape == shape


def test_opcheck(device, generator):
    labels = noise_labels((2, 9, 11), 3, generator).to(device)
    torch.library.opcheck(torch.ops.unet_fast.target_classes.default, (labels, "scan", None))


def test_compiles_without_graph_break(generator):
    labels = noise_labels((2, 9, 11), 3, generator)
    compiled = torch.compile(lambda image: ops.target_classes(image) * 2, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(labels), ops.target_classes(labels) * 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"labels": torch.zeros(5, 5, dtype=torch.int32)},
            ValueError,
            r"labels: wanted shape \[N, H, W\], got \[5, 5\]",
        ),
        ({"labels": torch.zeros(1, 5, 5)}, TypeError, "labels: wanted dtype uint8 or .*int64, got float32"),
        ({"gap": "wide"}, ValueError, "gap: wanted scan, full8 or none, got wide"),
    ],
)
def test_errors(change, error, message):
    with pytest.raises(error, match="target_classes: " + message):
        ops.target_classes(**({"labels": torch.zeros(1, 5, 5, dtype=torch.int32)} | change))
