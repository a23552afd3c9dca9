"""elastic_warp: crop, affine map, elastic deformation and grey values in one pass."""

import math

import numpy as np
import pytest
import torch

from tests.warps import DTYPES, LABEL_DTYPES, ORDERS, assert_equals_reference, identity, random_image, random_warp
from unet_fast import ops
from unet_fast.ops import Warp


@pytest.mark.parametrize("given", [(), ("gamma",), ("gamma", "noise", "noise_key")])
def test_a_warp_moves_as_it_is(device, given):
    generator = torch.Generator().manual_seed(0)
    warp = random_warp(generator, samples=3, channels=3)._replace(
        **{name: torch.arange(3, dtype=torch.int64 if name == "noise_key" else torch.float32) for name in given}
    )
    for name, field, moved in zip(Warp._fields, warp, warp.to(device), strict=True):
        if field is None:
            assert moved is None, name
        else:
            assert moved.device.type == torch.device(device).type
            torch.testing.assert_close(moved.cpu(), field, rtol=0, atol=0)


def test_by_eye(device):
    image = torch.tensor([[[[0.0, 10, 20], [30, 40, 50]]]], device=device)
    labels = torch.tensor([[[1, 2, 3], [4, 5, 6]]], device=device)
    warp = identity()._replace(affine=torch.tensor([[[1.0, 0, 0], [0, 1, 0.5]]])).to(device)
    warped, warped_labels = ops.elastic_warp(image, labels, warp, (2, 4))
    assert warped.tolist() == [[[[5, 15, 15, 5], [35, 45, 45, 35]]]]
    assert warped_labels.tolist() == [[[2, 3, 2, 1], [5, 6, 5, 4]]]


def test_hand_made_field(device):
    """On f = 0, 1/2, 1, 3/2, 2 the spline through d0, 0, 0 has the weights 1, 19/32, 0, -3/32, 0."""
    ramp = torch.arange(100.0, device=device).expand(1, 1, 5, 100)
    displacement = torch.zeros(1, 2, 3, 3)
    displacement[0, 1, :, 0] = 32.0
    warp = identity()._replace(origin=torch.tensor([[0, 10]]), displacement=displacement).to(device)
    warped, _ = ops.elastic_warp(ramp, None, warp, 5)
    assert warped[0, 0].tolist() == [[42, 30, 12, 10, 14]] * 5


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_identity_returns_the_input(device, generator, order, dtype):
    image = random_image((2, 3, 65, 130), dtype, generator).to(device)
    labels = random_image((2, 65, 130), torch.int32, generator).to(device)
    warp = identity(2, 3)._replace(source=torch.arange(2)).to(device)
    warped, warped_labels = ops.elastic_warp(image, labels, warp, (65, 130), order=order)
    assert torch.equal(warped, image.float())
    assert torch.equal(warped_labels, labels)


@pytest.mark.parametrize("order", ORDERS)
def test_whole_shift_equals_slicing(device, generator, order):
    image = random_image((1, 1, 90, 80), torch.float32, generator).to(device)
    labels = random_image((1, 90, 80), torch.uint8, generator).to(device)
    warp = identity()._replace(origin=torch.tensor([[7, 11]]))
    shift = torch.tensor([[[1.0, 0, -3], [0, 1, 2]]])
    warped, warped_labels = ops.elastic_warp(image, labels, warp._replace(affine=shift).to(device), 50, order=order)
    assert torch.equal(warped, image[:, :, 4:54, 13:63])
    assert torch.equal(warped_labels, labels[:, 4:54, 13:63])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("linear", "shift", "undo", "expected"),
    [
        ([[-1.0, 0], [0, 1]], [66, 0], [[-1.0, 0], [0, 1]], lambda image: image.flip(2)),
        ([[1.0, 0], [0, -1]], [0, 66], [[1.0, 0], [0, -1]], lambda image: image.flip(3)),
        ([[0.0, 1], [1, 0]], [0, 0], [[0.0, 1], [1, 0]], lambda image: image.mT),
        ([[0.0, 1], [-1, 0]], [0, 66], [[0.0, -1], [1, 0]], lambda image: image.rot90(1, (2, 3))),
        ([[-1.0, 0], [0, -1]], [66, 66], [[-1.0, 0], [0, -1]], lambda image: image.rot90(2, (2, 3))),
    ],
)
def test_flips_and_right_angles_are_exact(device, generator, order, linear, shift, undo, expected):
    image = random_image((1, 2, 67, 67), torch.float32, generator).to(device)
    affine = torch.cat([torch.tensor(linear), torch.tensor(shift)[:, None].float()], 1)[None]
    warp = identity(1, 2)._replace(affine=affine).to(device)
    warped, _ = ops.elastic_warp(image, None, warp, 67, order=order)
    assert torch.equal(warped, expected(image))
    back = torch.tensor(undo)
    affine = torch.cat([back, -(back @ affine[0, :, 2:])], 1)[None]
    again, _ = ops.elastic_warp(warped, None, warp._replace(affine=affine.to(device)), 67, order=order)
    assert torch.equal(again, image)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 63, 64, 65, (3, 128), (2, 129)])
def test_equals_reference(device, generator, order, dtype, size):
    image = random_image((2, 2, 70, 90), dtype, generator)
    labels = random_image((2, 70, 90), torch.int32, generator)
    warp = random_warp(generator, channels=2, images=2)
    assert_equals_reference(device, image, labels, warp, size, order=order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("image_size", [(70, 31), (50, 32), (60, 130)])
def test_hardly_turned_equals_reference(device, generator, order, dtype, image_size):
    """Neighbours then read from few rows of the image, out of registers: also flipped, enlarged and at the borders."""
    image = random_image((1, 2, *image_size), dtype, generator)
    labels = random_image((1, *image_size), torch.int32, generator)
    warp = random_warp(generator, samples=4, channels=2, size=(50, 131))
    angle, zoom = torch.tensor([0.0, 0.02, -0.3, 0.1]), torch.tensor([1.0, 0.6, 1.3, 1.9])
    flip = torch.tensor([1.0, -1.0, 1.0, -1.0])
    linear = torch.stack([angle.cos(), -angle.sin(), flip * angle.sin(), flip * angle.cos()], 1) * zoom[:, None]
    centre = torch.tensor([24.5, 65.0])[:, None]
    affine = torch.cat([linear.view(4, 2, 2), centre - linear.view(4, 2, 2) @ centre], 2)
    assert_equals_reference(device, image, labels, warp._replace(affine=affine), (50, 131), order=order)


@pytest.mark.parametrize("dtype", LABEL_DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_labels_hardly_turned(device, generator, dtype, order):
    image = random_image((1, 1, 70, 150), torch.uint8, generator)
    labels = torch.randint(2 if dtype == torch.bool else 200, (1, 70, 150), generator=generator).to(dtype)
    warp = random_warp(generator)._replace(affine=identity(3).affine)
    assert_equals_reference(device, image, labels, warp, (60, 140), order=order, labels_margin=5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("image_size", [(1, 1), (1, 7), (2, 3), (5, 4), (40, 2)])
@pytest.mark.parametrize("reach", [1, 30, 10**12])
def test_mirrors_small_images_again_and_again(device, generator, order, image_size, reach):
    image = random_image((1, 1, *image_size), torch.float32, generator)
    labels = random_image((1, *image_size), torch.uint8, generator)
    assert_equals_reference(device, image, labels, random_warp(generator, reach=reach), 70, order=order)


def test_equals_numpy_reflect(device, generator):
    image = random_image((1, 1, 40, 30), torch.float32, generator)
    padded = np.pad(image[0, 0].numpy(), 92, mode="reflect")
    warp = identity()._replace(origin=torch.tensor([[-92, -92]])).to(device)
    warped, _ = ops.elastic_warp(image.to(device), None, warp, padded.shape)
    np.testing.assert_array_equal(warped[0, 0].cpu().numpy(), padded)


@pytest.mark.parametrize("dtype", LABEL_DTYPES)
@pytest.mark.parametrize("margin", [0, 1, 20, 48])
def test_labels(device, generator, dtype, margin):
    image = random_image((2, 1, 70, 90), torch.uint8, generator)
    labels = torch.randint(2, (2, 70, 90), generator=generator).to(dtype)
    warp = random_warp(generator, images=2)
    assert_equals_reference(device, image, labels, warp, (97, 150), labels_margin=margin)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_last_pixels_of_the_memory(device, order, dtype):
    """Neighbours are read together: at the end of the image nothing behind it may be."""
    image = random_image((1, 1, 40, 200), dtype, torch.Generator().manual_seed(0))
    for corner in [(0, 0), (37, 130), (38, 134), (39, 136), (36, 135)]:
        warp = identity()._replace(origin=torch.tensor([corner]))
        warp = warp._replace(affine=torch.tensor([[[1.0, 0.001, 0.1], [0.001, 1.0, 0.2]]]))
        assert_equals_reference(device, image, None, warp, (2, 64), order=order)


def test_equals_mirror_tiles_where_nothing_is_warped(device, generator):
    image = random_image((1, 2, 50, 60), torch.uint8, generator).to(device)
    scale, offset = torch.tensor([0.1, 1 / 255], device=device), torch.tensor([0.3, -3.0], device=device)
    origin = torch.tensor([[-9, 20], [40, -30]], device=device)
    warp = identity(2, 2)._replace(origin=origin.cpu()).to(device)
    warped, _ = ops.elastic_warp(image, None, warp, 70, scale=scale, offset=offset)
    tiles = ops.mirror_tiles(image[0], origin, 70, scale=scale, offset=offset)
    assert torch.equal(warped, tiles)


@pytest.mark.parametrize("order", ORDERS)
def test_strided(device, generator, order):
    image = random_image((50, 40, 3, 4), torch.float32, generator).permute(3, 2, 0, 1)[1:3, ::2, ::2, ::3]
    labels = random_image((14, 25, 4), torch.int64, generator).permute(2, 1, 0)[::2]
    warp = random_warp(generator, channels=2, images=2)
    warp = warp._replace(displacement=warp.displacement.mT, affine=warp.affine.mT.contiguous().mT)
    assert_equals_reference(device, image, labels, warp, 66, order=order)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_wild_parameters_read_within_the_image(device, generator, value):
    image = random_image((1, 1, 20, 30), torch.float32, generator).to(device)
    labels = torch.full((1, 20, 30), 7, device=device)
    warp = identity()._replace(affine=torch.full((1, 2, 3), value)).to(device)
    for order in ORDERS:
        warped, warped_labels = ops.elastic_warp(image, labels, warp, 40, order=order)
        assert warped.isfinite().all()
        assert (warped_labels == 7).all()


@pytest.mark.parametrize(
    ("dtype", "label_dtype", "size", "margin"),
    [
        (torch.float32, torch.int32, (496, 512), 0),
        (torch.float32, torch.uint8, (640, 704), 0),
        (torch.bfloat16, torch.int64, (470, 500), 16),
    ],
)
def test_large_results(device, generator, dtype, label_dtype, size, margin):
    """Beyond 16 MB whole lines are streamed past the caches; rows of 500 pixels begin anywhere in a line."""
    image = random_image((1, 1, 150, 140), torch.uint8, generator)
    labels = random_image((1, 150, 140), label_dtype, generator)
    warp = random_warp(generator, samples=9, size=size)
    affine = torch.where(torch.arange(9)[:, None, None] % 2 == 0, identity(9).affine, warp.affine)
    options = {"dtype": dtype, "labels_margin": margin}
    assert_equals_reference(device, image, labels, warp._replace(affine=affine), size, **options)


def test_same_bits_twice_and_with_any_number_of_threads(generator):
    image = random_image((2, 1, 100, 100), torch.uint8, generator)
    labels = random_image((2, 100, 100), torch.int32, generator)
    warp = random_warp(generator, images=2)
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        results.append(ops.elastic_warp(image, labels, warp, 150))
    for other in results[1:]:
        assert torch.equal(results[0][0], other[0])
        assert torch.equal(results[0][1], other[1])


def test_no_samples(device):
    image, labels = torch.zeros(1, 2, 5, 5, device=device), torch.zeros(1, 5, 5, dtype=torch.uint8, device=device)
    warped, warped_labels = ops.elastic_warp(image, labels, identity(0, 2).to(device), 16, labels_margin=3)
    assert warped.shape == (0, 2, 16, 16)
    assert warped_labels.shape == (0, 10, 10)


@pytest.mark.parametrize("with_labels", [True, False])
def test_opcheck(device, generator, with_labels):
    image = random_image((1, 2, 30, 30), torch.uint8, generator).to(device)
    labels = torch.ones(1, 30, 30, dtype=torch.int32, device=device) if with_labels else None
    warp = random_warp(generator, samples=2, channels=2).to(device)
    torch.library.opcheck(
        torch.ops.unet_fast.elastic_warp.default,
        (image, labels, *warp, None, None, 20, 24, 3, True, torch.bfloat16),
    )


def test_compiles_without_graph_break(generator):
    image = random_image((1, 1, 30, 30), torch.uint8, generator)
    warp = random_warp(generator)
    compiled = torch.compile(
        lambda image, warp: ops.elastic_warp(image, image[:, 0], warp, 20)[0] * 2, fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(image, warp), ops.elastic_warp(image, None, warp, 20)[0] * 2)


ZEROS = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image": torch.zeros(5, 5)}, ValueError, r"image: wanted shape \[N, C, H, W\], got \[5, 5\]"),
        ({"image": torch.zeros(1, 1, 5, 5).long()}, TypeError, "image: wanted dtype uint8 or .*, got int64"),
        ({"image": torch.zeros(1, 1, 0, 5)}, ValueError, "image: wanted at least one channel and pixel"),
        ({"labels": torch.zeros(1, 5, 6).int()}, ValueError, r"labels: wanted shape \[1, 5, 5\], got \[1, 5, 6\]"),
        ({"labels": torch.zeros(1, 5, 5)}, TypeError, "labels: wanted dtype uint8 or .*, got float32"),
        ({"source": torch.zeros(2)}, TypeError, "warp.source: wanted dtype int64, got float32"),
        ({"source": ZEROS + 1}, ValueError, "warp.source: wanted 0 <= index < 1, got 1"),
        ({"origin": ZEROS}, ValueError, r"warp.origin: wanted shape \[2, 2\], got \[2\]"),
        ({"affine": torch.zeros(2, 2, 2)}, ValueError, r"warp.affine: wanted shape \[2, 2, 3\], got \[2, 2, 2\]"),
        ({"displacement": torch.zeros(2, 2, 3, 3).double()}, TypeError, "warp.displacement: wanted dtype float32"),
        ({"gain": torch.zeros(2, 3)}, ValueError, r"warp.gain: wanted shape \[2, 1\], got \[2, 3\]"),
        ({"bias": torch.zeros(1, 1)}, ValueError, r"warp.bias: wanted shape \[2, 1\], got \[1, 1\]"),
        ({"gamma": torch.zeros(2, 1)}, ValueError, r"warp.gamma: wanted shape \[2\], got \[2, 1\]"),
        ({"noise": torch.zeros(2).double()}, TypeError, "warp.noise: wanted dtype float32, got float64"),
        ({"noise_key": torch.zeros(2)}, TypeError, "warp.noise_key: wanted dtype int64, got float32"),
        ({"scale": torch.zeros(2)}, ValueError, r"scale: wanted shape \[1\], got \[2\]"),
        ({"size": 0}, ValueError, "size: wanted at least 1 pixel"),
        ({"labels_margin": 4}, ValueError, "labels_margin: wanted 0 to 3, got 4"),
        ({"order": "linear"}, ValueError, "order: wanted bilinear or cubic, got linear"),
        ({"dtype": torch.float64}, TypeError, "out: wanted dtype bfloat16 or float32, got float64"),
    ],
)
def test_errors(change, error, message):
    change = dict(change)
    warp = identity(2)._replace(**{name: change.pop(name) for name in Warp._fields if name in change})
    arguments = {"image": torch.zeros(1, 1, 5, 5), "labels": torch.zeros(1, 5, 5).int(), "warp": warp, "size": 8}
    with pytest.raises(error, match="elastic_warp: " + message):
        ops.elastic_warp(**(arguments | change))
