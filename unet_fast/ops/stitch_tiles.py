"""Stitch output tiles into one image (overlap-tile strategy, figure 2 of the paper)."""

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register, stream


def stitch_tiles(tiles: Tensor, origins: Tensor, size: tuple[int, int]) -> Tensor:
    """Put tiles into one image, each at its origin.

    What reaches beyond the image is cut off. Pixels that no tile covers are 0. Where tiles overlap the last one wins.
    Not differentiable.

    Args:
        tiles: [T, h, w] such as labels or [T, K, h, w] such as probabilities, any dtype, any strides.
        origins: [T, 2] int64, (y, x) of the first pixel of each tile in pixels of the result; may lie outside.
        size: (H, W) of the result in pixels.

    Returns:
        [H, W] or [K, H, W], contiguous, with the dtype of the tiles.

    Raises:
        ValueError: an argument has the wrong shape or device.
        TypeError: origins are not int64, or the dtype of the tiles is unknown.
    """
    height, width = size
    return torch.ops.unet_fast.stitch_tiles(tiles, origins, height, width)  # type: ignore[no-any-return]


def _shape(tiles: Tensor, height: int, width: int) -> list[int]:
    if tiles.dim() not in {3, 4}:
        raise ValueError(f"stitch_tiles: tiles: wanted shape [T, h, w] or [T, K, h, w], got {list(tiles.shape)}")
    if height < 0 or width < 0:
        raise ValueError(f"stitch_tiles: size: wanted at least 0 pixels, got {(height, width)}")
    return [*tiles.shape[1:-2], height, width]


def _stitch_tiles(tiles: Tensor, origins: Tensor, height: int, width: int) -> Tensor:
    shape = _shape(tiles, height, width)
    out = tiles.new_zeros(shape) if tiles.is_cuda else empty(tiles, shape)
    planes = (tiles.unsqueeze(1), out.unsqueeze(0)) if tiles.dim() == 3 else (tiles, out)
    covered_by = origins.new_empty(len(tiles), dtype=torch.int64) if tiles.is_cuda else None
    _C.stitch_tiles(planes[0], origins.contiguous(), planes[1], covered_by, stream(tiles))
    return out


def _fake(tiles: Tensor, origins: Tensor, height: int, width: int) -> Tensor:
    return empty(tiles, _shape(tiles, height, width))


register("stitch_tiles(Tensor tiles, Tensor origins, SymInt height, SymInt width) -> Tensor", _stitch_tiles, _fake)
