"""target_classes in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def instance_ids(labels: Tensor, ignore_label: int | None = None) -> Tensor:
    """Return the labels as int64 with 0 wherever there is no instance."""
    ids = labels.to(torch.int64)
    no_instance = ids <= 0
    if ignore_label is not None:
        no_instance |= ids == ignore_label
    return ids.masked_fill(no_instance, 0)


def _differ(ids: Tensor, other: Tensor) -> Tensor:
    return (ids > 0) & (other > 0) & (ids != other)


def _scan(ids: Tensor) -> Tensor:
    """Cut in raster order. Pixels of equal x + 2y do not depend on each other: one step for each such diagonal."""
    images, height, width = ids.shape
    steps = width + 2 * (height - 1)
    kept = ids.new_zeros(images, height + 1, steps + 3)  # row y + 1, diagonal x + 2y + 3
    y = torch.arange(height, device=ids.device)
    for step in range(steps):
        x = step - 2 * y
        rows = y[(x >= 0) & (x < width)]
        here = ids[:, rows, x[rows]]
        cut = torch.zeros_like(here, dtype=torch.bool)
        for dy, diagonal in ((0, 2), (-1, 0), (-1, 1), (-1, 2)):  # W, NW, N, NE
            cut |= _differ(here, kept[:, rows + dy + 1, step + diagonal])
        kept[:, rows + 1, step + 3] = here.masked_fill(cut, 0)
    diagonals = torch.arange(width, device=ids.device) + 2 * y[:, None] + 3
    return kept[:, 1 + y[:, None], diagonals]


def _full8(ids: Tensor) -> Tensor:
    height, width = ids.shape[1:]
    padded = F.pad(ids, (1, 1, 1, 1))
    neighbours = [padded[:, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    cut = torch.stack([_differ(ids, neighbour) for neighbour in neighbours]).any(0)
    return ids.masked_fill(cut, 0)


def target_classes(labels: Tensor, gap: str = "scan", ignore_label: int | None = None) -> Tensor:
    """Turn an instance map into classes; see `unet_fast.ops.target_classes`."""
    ids = instance_ids(labels, ignore_label)
    if gap not in ("scan", "full8", "none"):
        raise ValueError(f"target_classes: gap: wanted scan, full8 or none, got {gap}")
    cut = _scan(ids) if gap == "scan" else _full8(ids) if gap == "full8" else ids
    classes = (cut > 0).to(torch.uint8)
    return classes if ignore_label is None else classes.masked_fill(labels.to(torch.int64) == ignore_label, 255)
