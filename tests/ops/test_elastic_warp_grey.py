"""elastic_warp: the change of grey values."""

import math

import pytest
import torch

from tests.warps import assert_equals_reference, identity, random_image, random_warp
from unet_fast import ops, reference


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


def test_one_gain_and_bias_for_all_channels(device, generator):
    image = random_image((1, 3, 50, 50), torch.uint8, generator)
    assert_equals_reference(device, image, None, random_warp(generator, channels=1), 40)
