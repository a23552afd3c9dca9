"""Cut mirror-extrapolated tiles out of an image (overlap-tile strategy, figure 2 of the paper)."""

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register, stream


def mirror_tiles(
    image: Tensor,
    origins: Tensor,
    side: int | tuple[int, int],
    *,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Cut tiles out of an image; what lies outside the image is its mirror image.

    The mirror does not repeat the edge pixel (numpy's "reflect") and is repeated where the image is smaller than
    the border.

    Args:
        image: [C, H, W], uint8, uint16, int16, int32, float16, bfloat16, float32, float64 or bool, any strides.
        origins: [T, 2] int64, (y, x) of the first pixel of each tile in image pixels; may lie outside the image.
        side: tile size in pixels, one number or (height, width).
        scale: [C] float32, multiplies the image; None is 1. Normalises integer images while they are gathered.
        offset: [C] float32, added after the scale; None is 0.
        dtype: of the result, float32 (default) or bfloat16.

    Returns:
        [T, C, h, w] in channels_last memory.

    Raises:
        ValueError: an argument has the wrong shape or device.
        TypeError: an argument has the wrong dtype.
    """
    height, width = (side, side) if isinstance(side, int) else side
    image = image.view(torch.uint8) if image.dtype == torch.bool else image
    return torch.ops.unet_fast.mirror_tiles(image, origins, height, width, scale, offset, dtype)  # type: ignore[no-any-return]


def _empty(
    image: Tensor,
    origins: Tensor,
    height: int,
    width: int,
    scale: Tensor | None,
    offset: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    if height < 1 or width < 1:
        raise ValueError(f"mirror_tiles: side: wanted at least 1 pixel, got {(height, width)}")
    size = (origins.shape[0], image.shape[0], height, width)
    return empty(image, size, torch.channels_last, dtype)


def _mirror_tiles(
    image: Tensor,
    origins: Tensor,
    height: int,
    width: int,
    scale: Tensor | None,
    offset: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    tiles = _empty(image, origins, height, width, scale, offset, dtype)
    _C.mirror_tiles(image, origins.contiguous(), scale, offset, tiles, stream(image))
    return tiles


register(
    "mirror_tiles(Tensor image, Tensor origins, SymInt height, SymInt width, Tensor? scale, Tensor? offset, "
    "ScalarType dtype) -> Tensor",
    _mirror_tiles,
    _empty,
)
