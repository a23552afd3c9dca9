"""Augment images and their labels: crop, flip, rotate, scale, shift, deform elastically and change grey values."""

from typing import Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register, stream

Labels = TypeVar("Labels", Tensor, None)


class Warp(NamedTuple):
    """What `elastic_warp` does to a batch of B samples.

    Pixel p = (y, x) of a sample's crop reads the image at origin + A p + t + u(p), where u is the displacement field.

    Attributes:
        source: [B] int64, index of the image that the sample is taken from.
        origin: [B, 2] int64, (y, x) of the crop's corner in image pixels; may lie outside the image.
        affine: [B, 2, 3] float32, (A | t): pixel of the crop -> pixels from the crop's corner. Holds flips, rotation,
            scale and shift about the crop's centre; rows (1, 0, 0) and (0, 1, 0) are the identity.
        displacement: [B, 2, 3, 3] float32, (dy, dx) in pixels at the corners, edge middles and centre of the crop; a
            cubic B-spline interpolates them. 0 is the identity.
        gain: [B, C] or [B, 1] (all channels alike) float32, multiplies the grey value; 1 is the identity.
        bias: [B, C] or [B, 1] float32, added to the grey value; 0 is the identity.
        gamma: [B] float32 above 0, exponent of the grey value's magnitude (its sign stays), taken before the gain: of
            an image between 0 and 1, more than 1 darkens the middle greys. None (default) and 1 are the identity.
        noise: [B] float32, standard deviation of normal noise, which is added last. None (default) and 0 are none.
        noise_key: [B] int64, key of the noise: its numbers depend on the key, the pixel of the crop and the channel
            alone (Philox4x32-10 and the transform of Box and Muller). None (default) is 0.
    """

    source: Tensor
    origin: Tensor
    affine: Tensor
    displacement: Tensor
    gain: Tensor
    bias: Tensor
    gamma: Tensor | None = None
    noise: Tensor | None = None
    noise_key: Tensor | None = None

    def to(self, device: torch.device | str) -> "Warp":
        """Return a copy on a device: from the CPU to CUDA in one transfer, for which nobody waits."""
        # The largest elements first: then each is aligned.
        fields = {name: field for name, field in self._asdict().items() if field is not None}
        fields = dict(sorted(fields.items(), key=lambda item: -item[1].itemsize))
        packed = torch.cat([field.contiguous().flatten().view(torch.uint8) for field in fields.values()])
        if packed.is_cpu and torch.device(device).type == "cuda":
            packed = packed.pin_memory().to(device, non_blocking=True)
        parts = packed.to(device).split([field.nbytes for field in fields.values()])
        moved = {
            name: part.view(field.dtype).view(field.shape)
            for (name, field), part in zip(fields.items(), parts, strict=True)
        }
        return self._replace(**moved)


def elastic_warp(
    image: Tensor,
    labels: Labels,
    warp: Warp,
    size: int | tuple[int, int],
    *,
    order: Literal["bilinear", "cubic"] = "bilinear",
    dtype: torch.dtype = torch.float32,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    labels_margin: int = 0,
) -> tuple[Tensor, Labels]:
    """Cut a warped crop per sample out of images and labels, in one pass.

    The displacement field is the paper's: values on a 3x3 grid, interpolated per pixel by a cubic B-spline with mirror
    boundary. What lies outside the image is its mirror image (no edge repeat), reflected as often as needed. Identity
    parameters return a finite input bit for bit (-0 becomes 0), and all devices return the same bits. Against float64,
    coordinates are off by less than 2e-4 pixels for crops of up to 600. Not differentiable.

    Args:
        image: [N, C, H, W], uint8, uint16, int16, int32, float16, bfloat16, float32, float64 or bool, any strides. Only
            what the crops show is read; it becomes float32 on the way.
        labels: [N, H, W], uint8, uint16, uint32, int32, int64 or bool, any strides; or None. Read at the nearest pixel
            of the same coordinates, ties upwards (floor(s + 0.5)).
        warp: parameters of the B samples, on the device of the image.
        size: of the crop in pixels, one number or (h, w).
        order: interpolation of the image: "bilinear" (default) or "cubic" (cubic convolution, Keys 1981, a = -0.5).
        dtype: of the resulting image, float32 (default) or bfloat16.
        scale: [C] float32; None is 1. The grey value is scale * image + offset, the result
            gain * sign(grey) |grey|^gamma + bias + noise.
        offset: [C] float32; None is 0.
        labels_margin: pixels that the labels' crop is smaller on each side than the image's, default 0; 92 for the
            paper's network, whose output lacks the border of its input.

    Returns:
        image [B, C, h, w] in channels_last memory, and labels [B, h - 2 margin, w - 2 margin] in their own dtype (None
        where there were none).

    Raises:
        ValueError: an argument has the wrong shape, device or value. On CUDA `warp.source` is not looked at, which
            would stall the stream: there the sample of an index out of range stays undefined.
        TypeError: an argument has the wrong dtype.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if order not in {"bilinear", "cubic"}:
        raise ValueError(f"elastic_warp: order: wanted bilinear or cubic, got {order}")
    cubic = order == "cubic"
    image = image.view(torch.uint8) if image.dtype == torch.bool else image
    image, warped = torch.ops.unet_fast.elastic_warp(
        image, labels, *warp, scale, offset, height, width, labels_margin, cubic, dtype
    )
    return image, None if labels is None else warped


def _empty(
    image: Tensor,
    labels: Tensor | None,
    source: Tensor,
    origin: Tensor,
    affine: Tensor,
    displacement: Tensor,
    gain: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    noise: Tensor | None,
    noise_key: Tensor | None,
    scale: Tensor | None,
    offset: Tensor | None,
    height: int,
    width: int,
    labels_margin: int,
    cubic: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    if height < 1 or width < 1:
        raise ValueError(f"elastic_warp: size: wanted at least 1 pixel, got {(height, width)}")
    inner = (height - 2 * labels_margin, width - 2 * labels_margin)
    if labels_margin < 0 or min(inner) < 1:
        raise ValueError(
            f"elastic_warp: labels_margin: wanted 0 to {(min(height, width) - 1) // 2}, got {labels_margin}"
        )
    size = (source.shape[0], image.shape[1], height, width)
    out = empty(image, size, torch.channels_last, dtype)
    if labels is None:
        return out, image.new_empty(0, dtype=torch.uint8)
    return out, empty(labels, (source.shape[0], *inner))


def _elastic_warp(
    image: Tensor,
    labels: Tensor | None,
    source: Tensor,
    origin: Tensor,
    affine: Tensor,
    displacement: Tensor,
    gain: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    noise: Tensor | None,
    noise_key: Tensor | None,
    scale: Tensor | None,
    offset: Tensor | None,
    height: int,
    width: int,
    labels_margin: int,
    cubic: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    if image.shape[1] > 1:
        gain, bias = (f.expand(-1, image.shape[1]) if f.dim() == 2 and f.shape[1] == 1 else f for f in (gain, bias))
    warp = (source, origin, affine, displacement, gain, bias, gamma, noise, noise_key)
    out, out_labels = _empty(image, labels, *warp, scale, offset, height, width, labels_margin, cubic, dtype)
    _C.elastic_warp(
        image,
        labels,
        *(None if field is None else field.contiguous() for field in warp),
        scale,
        offset,
        cubic,
        out,
        None if labels is None else out_labels,
        labels_margin,
        stream(image),
    )
    return out, out_labels


register(
    "elastic_warp(Tensor image, Tensor? labels, Tensor source, Tensor origin, Tensor affine, Tensor displacement, "
    "Tensor gain, Tensor bias, Tensor? gamma, Tensor? noise, Tensor? noise_key, Tensor? scale, Tensor? offset, "
    "SymInt height, SymInt width, SymInt labels_margin, bool cubic, ScalarType dtype) -> (Tensor, Tensor)",
    _elastic_warp,
    _empty,
)
