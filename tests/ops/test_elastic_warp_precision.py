"""elastic_warp: its field and its coordinates against scipy and float64."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from tests.warps import identity, random_image, random_warp
from unet_fast import ops, reference
from unet_fast.ops import Warp
from unet_fast.reference.elastic_warp import displacement_field


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
