"""elastic_warp in plain PyTorch: a dense field, then gathers.

The same multiplications and additions in the same order as csrc/core/warp.h, so that float32 parameters give the same
bits, except where gamma or noise need a logarithm. With float64 parameters and dtype=torch.float64 everything is
computed in double.
"""

from typing import Literal, TypeVar

import torch
from torch import Tensor

from unet_fast.reference.mirror_tiles import mirror_index

Labels = TypeVar("Labels", Tensor, None)
# As in ops.Warp: source, origin, affine, displacement, gain, bias; gamma, noise and noise_key, or None.
Parameters = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]


def bspline_matrix(pixels: int, like: Tensor) -> Tensor:
    """Return A [pixels, 3]: the weights of three control values on the cubic B-spline at pixels of one axis."""
    step = torch.ones_like(like[:1]) * 2 / max(pixels - 1, 1)
    position = torch.arange(pixels, device=like.device).to(like.dtype) * step
    left = position < 1
    t = torch.where(left, position, 2 - position)
    square = t * t
    near = 1 - square * (2.25 - 1.25 * t)
    middle = square * (3 - 2 * t)
    far = 0.75 * (square * (t - 1))
    return torch.stack([torch.where(left, near, far), middle, torch.where(left, far, near)], dim=1)


def displacement_field(displacement: Tensor, size: tuple[int, int]) -> Tensor:
    """Return u_c = A d_c B^T, [B, 2, h, w] in pixels, for control values [B, 2, 3, 3]."""
    flat = displacement.flatten()
    a, b = bspline_matrix(size[0], flat), bspline_matrix(size[1], flat)
    d = displacement[:, :, :, None, :]  # [B, 2, 3, 1, 3]
    rows = (a[:, :1] * d[:, :, 0] + a[:, 1:2] * d[:, :, 1]) + a[:, 2:] * d[:, :, 2]  # [B, 2, h, 3]
    rows = rows[..., None, :]
    return (b[:, 0] * rows[..., 0] + b[:, 1] * rows[..., 1]) + b[:, 2] * rows[..., 2]


def _coordinates(affine: Tensor, displacement: Tensor, size: tuple[int, int]) -> Tensor:
    y = torch.arange(size[0], device=affine.device, dtype=affine.dtype)[:, None]
    x = torch.arange(size[1], device=affine.device, dtype=affine.dtype)
    a = affine[:, :, None, None]  # [B, 2, 1, 1, 3]
    return (a[..., 0] * y + a[..., 1] * x) + a[..., 2] + displacement_field(displacement, size)  # [B, 2, h, w]


def _cubic_weights(t: Tensor) -> list[Tensor]:
    s, square = 1 - t, t * t
    w0 = -0.5 * (t * (s * s))
    w3 = -0.5 * (s * square)
    w1 = 1 - square * (2.5 - 1.5 * t)
    return [w0, w1, 1 - ((w0 + w1) + w3), w3]


def _interpolate(values: list[Tensor], t: Tensor) -> Tensor:
    if len(values) == 2:
        return values[0] + t * (values[1] - values[0])
    terms = [w * value for w, value in zip(_cubic_weights(t), values, strict=True)]
    return ((terms[0] + terms[1]) + terms[2]) + terms[3]


def _philox(key: Tensor, counter: Tensor, stream: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first two words of Philox4x32-10, in int64: products wrap around at 2^64, as unsigned ones do."""
    low = 0xFFFFFFFF
    zero = torch.zeros_like(key + counter + stream)
    a, b, c, d = (zero + word for word in (counter & low, counter >> 32 & low, stream & low, stream >> 32 & low))
    first, second = key & low, key >> 32 & low
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b = (right >> 32 & low) ^ b ^ first, right & low
        c, d = (left >> 32 & low) ^ d ^ second, left & low
        first, second = (first + 0x9E3779B9) & low, (second + 0xBB67AE85) & low
    return a, b


def philox_normal(key: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Return normal numbers [B, C, h, w], float64, that depend on the key [B], the pixel and the channel alone."""
    pixel = torch.arange(size[0] * size[1], device=key.device).view(1, 1, *size)
    channel = torch.arange(channels, device=key.device)[:, None, None]
    words = _philox(key[:, None, None, None], pixel, channel)
    u, v = ((words[0] >> 8) + 1) * 2.0**-24, (words[1] >> 8) * 2.0**-24
    return (-2 * u.double().log()).sqrt() * (2 * torch.pi * v.double()).cos()


def elastic_warp(
    image: Tensor,
    labels: Labels,
    warp: Parameters,
    size: int | tuple[int, int],
    *,
    order: Literal["bilinear", "cubic"] = "bilinear",
    dtype: torch.dtype = torch.float32,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    labels_margin: int = 0,
) -> tuple[Tensor, Labels]:
    """Warp crops of images and labels; see `unet_fast.ops.elastic_warp`."""
    source, origin, affine, displacement, gain, bias, gamma, noise, noise_key = warp
    height, width = (size, size) if isinstance(size, int) else size
    at = _coordinates(affine, displacement, (height, width))
    floor = at.floor()
    fraction = at - floor
    taps = (0, 1) if order == "bilinear" else (-1, 0, 1, 2)
    corner = floor.long() + origin[:, :, None, None]
    ys = [mirror_index(corner[:, 0] + k, image.shape[2]) for k in taps]  # [B, h, w] each
    xs = [mirror_index(corner[:, 1] + k, image.shape[3]) for k in taps]
    planes = image.movedim(1, -1)  # [N, H, W, C]
    sample = source[:, None, None]
    rows = []
    for y in ys:
        pixels = [planes[sample, y, x].to(at.dtype) for x in xs]  # [B, h, w, C] each
        rows.append(_interpolate(pixels, fraction[:, 1, :, :, None]))
    value = _interpolate(rows, fraction[:, 0, :, :, None]).movedim(-1, 1)
    if scale is not None:
        value = scale[:, None, None] * value
    if offset is not None:
        value = value + offset[:, None, None]
    if gamma is not None:
        exponent = gamma[:, None, None, None].to(value.dtype)
        value = torch.where(exponent == 1, value, value.sign() * value.abs() ** exponent)
    value = gain[:, :, None, None] * value + bias[:, :, None, None]
    if noise is not None:
        key = torch.zeros_like(source) if noise_key is None else noise_key
        normal = philox_normal(key, image.shape[1], (height, width)).to(value.dtype)
        value = torch.where(noise[:, None, None, None] == 0, value, value + noise[:, None, None, None] * normal)
    out = value.to(dtype, memory_format=torch.channels_last)
    if labels is None:
        return out, None
    nearest = (at + 0.5).floor().long() + origin[:, :, None, None]
    nearest = nearest[..., labels_margin : height - labels_margin, labels_margin : width - labels_margin]
    y, x = mirror_index(nearest[:, 0], image.shape[2]), mirror_index(nearest[:, 1], image.shape[3])
    return out, labels[sample, y, x]
