"""stitch_tiles in plain PyTorch."""

from torch import Tensor


def stitch_tiles(tiles: Tensor, origins: Tensor, size: tuple[int, int]) -> Tensor:
    """Put tiles into one image; see `unet_fast.ops.stitch_tiles`."""
    image = tiles.new_zeros([*tiles.shape[1:-2], *size])
    for tile, (y, x) in zip(tiles, origins.tolist(), strict=True):
        inside = image[..., max(y, 0) : max(y + tile.shape[-2], 0), max(x, 0) : max(x + tile.shape[-1], 0)]
        top, left = max(-y, 0), max(-x, 0)
        inside.copy_(tile[..., top : top + inside.shape[-2], left : left + inside.shape[-1]])
    return image
