"""The operators again in plain PyTorch, with the same names and signatures: oracle, opponent and `backend="torch"`."""

from unet_fast.reference.mirror_tiles import mirror_tiles
from unet_fast.reference.warping_error import is_simple, warping_error

__all__ = ["is_simple", "mirror_tiles", "warping_error"]
