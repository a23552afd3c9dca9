"""Warps and images to test elastic_warp with."""

import math

import torch

from unet_fast import ops, reference
from unet_fast.ops import Warp

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
