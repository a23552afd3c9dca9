"""mirror_tiles in plain PyTorch."""

import torch
from torch import Tensor


def mirror_index(index: Tensor, size: int) -> Tensor:
    """Return the index in [0, size) that each index mirrors to, without repeating the edge."""
    period = max(2 * (size - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if size > 1 else torch.zeros_like(index)


def mirror_tiles(
    image: Tensor,
    origins: Tensor,
    side: int | tuple[int, int],
    *,
    scale: Tensor | None = None,
    offset: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Cut mirror-extrapolated tiles; see `unet_fast.ops.mirror_tiles`."""
    height, width = (side, side) if isinstance(side, int) else side
    y = mirror_index(origins[:, :1] + torch.arange(height, device=image.device), image.shape[1])  # [T, h]
    x = mirror_index(origins[:, 1:] + torch.arange(width, device=image.device), image.shape[2])  # [T, w]
    tiles = image[:, y[:, :, None], x[:, None, :]].movedim(0, 1).float()  # [T, C, h, w]
    if scale is not None:
        tiles = tiles * scale[:, None, None]
    if offset is not None:
        tiles = tiles + offset[:, None, None]
    return tiles.to(dtype, memory_format=torch.channels_last)
