"""elastic_warp: crop, affine map, elastic deformation and grey values in one pass."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from unet_fast import ops, reference
from unet_fast.ops import Warp
from unet_fast.reference.elastic_warp import displacement_field

DTYPES = [torch.uint8, torch.uint16, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float32]
DTYPES += [torch.float64, torch.bool]
LABEL_DTYPES = [torch.uint8, torch.uint16, torch.uint32, torch.int32, torch.int64, torch.bool]
ORDERS = ["bilinear", "cubic"]


def identity(samples: int = 1, channels: int = 1) -> Warp:
    return Warp(
        source=torch.zeros(samples, dtype=torch.int64),
        origin=torch.zeros(samples, 2, dtype=torch.int64),
        affine=torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).repeat(samples, 1, 1),
        displacement=torch.zeros(samples, 2, 3, 3),
        gain=torch.ones(samples, channels),
        bias=torch.zeros(samples, channels),
    )


def random_warp(generator, samples=3, channels=1, images=1, size=(64, 64), reach=40) -> Warp:
    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    angle, zoom = math.pi * uniform(samples), torch.exp2(0.5 * uniform(samples))
    linear = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2) * zoom[:, None, None]
    centre = torch.tensor(size)[:, None] / 2 - 0.5
    return Warp(
        source=torch.randint(images, (samples,), generator=generator),
        origin=torch.randint(-reach, reach, (samples, 2), generator=generator),
        affine=torch.cat([linear, centre - linear @ centre + 3 * uniform(samples, 2, 1)], 2),
        displacement=10 * torch.randn((samples, 2, 3, 3), generator=generator),
        gain=1 + 0.5 * uniform(samples, channels),
        bias=0.5 * uniform(samples, channels),
    )


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


def random_image(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    least = -100 if dtype in {torch.int16, torch.int32} else 0
    return (torch.rand(shape, generator=generator) * 200 + least).to(dtype)


def assert_equals_reference(device, image, labels, warp, size, **options):
    """Bit for bit, and the same bits on every device: the reference always runs on the CPU."""
    on_device = {name: value.to(device) if torch.is_tensor(value) else value for name, value in options.items()}
    moved = None if labels is None else labels.to(device)
    warped, warped_labels = ops.elastic_warp(image.to(device), moved, warp.to(device), size, **on_device)
    expected, expected_labels = reference.elastic_warp(image, labels, warp, size, **options)
    assert warped.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(warped.cpu(), expected, rtol=0, atol=0)
    if labels is None:
        assert warped_labels is None
    else:
        torch.testing.assert_close(warped_labels.cpu(), expected_labels, rtol=0, atol=0)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grey_values(device, generator, dtype):
    image = random_image((1, 3, 50, 50), torch.uint16, generator)
    options = {"scale": torch.tensor([0.5, 2.0, 1 / 255]), "offset": torch.tensor([0.0, -1.0, 3.0]), "dtype": dtype}
    assert_equals_reference(device, image, None, random_warp(generator, channels=3), 70, **options)


@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.2])
def test_gamma(device, generator, gamma):
    image = torch.randn((1, 2, 40, 50), generator=generator)
    image[0, 0, 0, :4] = torch.tensor([0.0, 1, -1, 1e-30])
    warp = identity(2, 2)._replace(gamma=torch.tensor([gamma, 1.0]))
    warped, _ = ops.elastic_warp(image.to(device), None, warp.to(device), (40, 50))
    exact = image.double().sign() * image.double().abs() ** torch.tensor(gamma).double()
    torch.testing.assert_close(warped[0].cpu().double(), exact[0], rtol=2e-6 * (1 + 70 * (gamma != 1)), atol=1e-30)
    near_one = (image[0].abs() > 0.01) & (image[0].abs() < 100)
    torch.testing.assert_close(warped[0].cpu().double()[near_one], exact[0][near_one], rtol=3e-6, atol=0)
    assert torch.equal(warped[0, 0, 0, :3].cpu(), image[0, 0, 0, :3])
    assert torch.equal(warped[1].cpu(), image[0])


def test_gamma_comes_before_the_gain_and_noise_last(device, generator):
    image = random_image((2, 2, 60, 70), torch.uint16, generator)
    warp = random_warp(generator, samples=3, channels=2, images=2)
    warp = warp._replace(
        gamma=torch.tensor([0.5, 1.0, 1.7]),
        noise=torch.tensor([0.2, 3.0, 0.0]),
        noise_key=torch.tensor([5, -(2**60), 7]),
    )
    options = {"scale": torch.tensor([1 / 200, 0.02]), "offset": torch.tensor([0.0, -1.0])}
    expected, _ = reference.elastic_warp(image, None, warp, 65, **options)
    moved = {name: value.to(device) for name, value in options.items()}
    warped, _ = ops.elastic_warp(image.to(device), None, warp.to(device), 65, **moved)
    # Near 0 a power below 1 is steep: what rounding leaves of 1e-7 becomes the root of that.
    torch.testing.assert_close(warped.cpu(), expected, rtol=1e-5, atol=1e-3)
    assert (warped.cpu() - expected).abs().mean() < 1e-6


def test_noise_is_normal(device):
    image = torch.zeros(1, 2, 1, 1, device=device)
    warp = identity(2, 2)._replace(noise=torch.tensor([1.0, 2.0]), noise_key=torch.tensor([1, 2])).to(device)
    noise, _ = ops.elastic_warp(image, None, warp, 500)
    noise = noise.cpu() / torch.tensor([1.0, 2.0])[:, None, None, None]
    for channel in noise.flatten(0, 1):  # of 250000 numbers: errors of 0.002, 0.0014, 0.005, 0.01
        assert abs(channel.mean()) < 0.01
        assert abs(channel.std() - 1) < 0.007
        assert abs((channel**3).mean()) < 0.03
        assert abs((channel**4).mean() - 3) < 0.1
    flat = noise.flatten(2).flatten(0, 1)
    neighbours = torch.cat([flat[:, :-1], flat[:, 1:]])
    assert (torch.corrcoef(neighbours) - torch.eye(8)).abs().max() < 0.02


def test_known_noise(device):
    """Philox4x32-10 of key 0 and counter 0 starts with 6627e8d5, e169c58d (Salmon et al.): part of what a key means."""
    warp = identity()._replace(noise=torch.ones(1), noise_key=torch.zeros(1, dtype=torch.int64)).to(device)
    noise, _ = ops.elastic_warp(torch.zeros(1, 1, 1, 1, device=device), None, warp, 1)
    u, v = ((0x6627E8D5 >> 8) + 1) / 2**24, (0xE169C58D >> 8) / 2**24
    assert noise.item() == pytest.approx(math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v), abs=1e-6)


def test_no_gamma_and_no_noise_change_nothing(device, generator):
    image = random_image((1, 1, 65, 130), torch.float32, generator).to(device)
    neutral = identity()._replace(gamma=torch.ones(1), noise=torch.zeros(1), noise_key=torch.ones(1).long()).to(device)
    assert torch.equal(ops.elastic_warp(image, None, neutral, (65, 130))[0], image)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_last_pixels_of_the_memory(device, order, dtype):
    """Neighbours are read together: at the end of the image nothing behind it may be."""
    image = random_image((1, 1, 40, 200), dtype, torch.Generator().manual_seed(0))
    for corner in [(0, 0), (37, 130), (38, 134), (39, 136), (36, 135)]:
        warp = identity()._replace(origin=torch.tensor([corner]))
        warp = warp._replace(affine=torch.tensor([[[1.0, 0.001, 0.1], [0.001, 1.0, 0.2]]]))
        assert_equals_reference(device, image, None, warp, (2, 64), order=order)


def test_one_gain_and_bias_for_all_channels(device, generator):
    image = random_image((1, 3, 50, 50), torch.uint8, generator)
    assert_equals_reference(device, image, None, random_warp(generator, channels=1), 40)


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


def test_close_to_double_precision(device, generator):
    """Coordinates in float32 are off by less than 2e-4 pixels."""
    ramps = torch.stack(torch.meshgrid(torch.arange(2000.0), torch.arange(2000.0), indexing="ij"))[None]
    warp = random_warp(generator, samples=2, channels=2, size=(600, 600))
    warp = warp._replace(origin=torch.full((2, 2), 700), gain=torch.ones(2, 2), bias=torch.zeros(2, 2))
    double = Warp(*(t.double() if torch.is_floating_point(t) else t for t in warp if t is not None))
    exact, _ = reference.elastic_warp(ramps.double(), None, double, 600, dtype=torch.float64)
    warped, _ = ops.elastic_warp(ramps.to(device), None, warp.to(device), 600)
    torch.testing.assert_close(warped.cpu().double(), exact, rtol=0, atol=3e-4)


@pytest.mark.parametrize("size", [(65, 100), (64, 101)])
def test_field_equals_scipy(generator, size):
    control = 10 * torch.randn((1, 2, 3, 3), generator=generator, dtype=torch.float64)
    field = displacement_field(control, size)
    grid = np.meshgrid(np.linspace(0, 2, size[0]), np.linspace(0, 2, size[1]), indexing="ij")
    for ours, values in zip(field[0], control[0], strict=True):
        scipys = scipy.ndimage.map_coordinates(values.numpy(), grid, order=3, mode="mirror")
        np.testing.assert_allclose(ours.numpy(), scipys, rtol=0, atol=1e-12)


def test_image_and_labels_equal_scipy(device, generator):
    size = (120, 140)
    smooth = scipy.ndimage.gaussian_filter(torch.rand(size, generator=generator).numpy(), 1.5)
    image = torch.from_numpy(smooth / np.abs(np.gradient(smooth)).max())[None, None]  # steps of about 1 per pixel
    labels = torch.randint(1000, (1, *size), generator=generator)
    displacement = 10 * torch.randn((1, 2, 3, 3), generator=generator)
    grid = np.meshgrid(*(np.linspace(0, 2, side) for side in size), indexing="ij")
    place = np.stack(np.meshgrid(*(np.arange(side, dtype=float) for side in size), indexing="ij"))
    for axis in (0, 1):
        control = displacement[0, axis].double().numpy()
        place[axis] += scipy.ndimage.map_coordinates(control, grid, order=3, mode="mirror")
    warp = identity()._replace(displacement=displacement).to(device)
    warped, warped_labels = ops.elastic_warp(image.to(device), labels.to(device), warp, size)
    scipys = scipy.ndimage.map_coordinates(image[0, 0].double().numpy(), place, order=1, mode="mirror")
    np.testing.assert_allclose(warped[0, 0].cpu().numpy(), scipys, rtol=0, atol=2e-4)
    scipys_labels = scipy.ndimage.map_coordinates(labels[0].numpy(), place, order=0, mode="mirror")
    far_from_tie = (np.abs(place - np.floor(place) - 0.5) > 1e-3).all(axis=0)
    assert far_from_tie.mean() > 0.99
    np.testing.assert_array_equal(warped_labels[0].cpu().numpy()[far_from_tie], scipys_labels[far_from_tie])


def test_precision_does_not_depend_on_the_position(device, generator):
    strip = random_image((1, 1, 3, 200), torch.float32, generator).to(device)
    image = torch.zeros(1, 1, 3, 20_000_000, device=device)
    image[..., 17_000_001:17_000_201] = strip
    warp = random_warp(generator, samples=1)
    near = ops.elastic_warp(strip, None, warp._replace(origin=torch.tensor([[0, 70]])).to(device), 30)[0]
    far = ops.elastic_warp(image, None, warp._replace(origin=torch.tensor([[0, 17_000_071]])).to(device), 30)[0]
    assert torch.equal(near, far)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_wild_parameters_read_within_the_image(device, generator, value):
    image = random_image((1, 1, 20, 30), torch.float32, generator).to(device)
    labels = torch.full((1, 20, 30), 7, device=device)
    warp = identity()._replace(affine=torch.full((1, 2, 3), value)).to(device)
    for order in ORDERS:
        warped, warped_labels = ops.elastic_warp(image, labels, warp, 40, order=order)
        assert warped.isfinite().all()
        assert (warped_labels == 7).all()


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
