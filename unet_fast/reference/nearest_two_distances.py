"""nearest_two_distances in plain PyTorch: two sweeps over the rows, then a walk over the horizontal offsets."""

import torch
from torch import Tensor

from unet_fast.reference.target_classes import instance_ids

Candidate = tuple[Tensor, Tensor]  # squared distance (infinite where there is none) and id


def _insert(nearest: tuple[Candidate, Candidate], other: Candidate) -> tuple[Candidate, Candidate]:
    """Take one more candidate into the two nearest distinct instances."""
    (d1, id1), (d2, id2) = nearest
    d, new = other
    nearer = d < d1
    loser, loser_id = torch.where(nearer, d1, d), torch.where(nearer, id1, new)
    second = (new != id1) & (nearer | (d < d2))
    return (torch.where(nearer, d, d1), torch.where(nearer, new, id1)), (
        torch.where(second, loser, d2),
        torch.where(second, loser_id, id2),
    )


def _sweep(ids: Tensor) -> tuple[Candidate, Candidate]:
    """Find for each pixel the last two distinct instances at or above it: squared distances and ids."""
    images, height, width = ids.shape
    rows = torch.full((2, images, width), -torch.inf, dtype=torch.float64, device=ids.device)
    seen = ids.new_zeros(2, images, width)
    all_rows, all_seen = [], []
    for y in range(height):
        new = ids[:, y]
        changed = (new != 0) & (new != seen[0])
        rows = torch.stack([torch.where(new != 0, float(y), rows[0]), torch.where(changed, rows[0], rows[1])])
        seen = torch.stack([torch.where(new != 0, new, seen[0]), torch.where(changed, seen[0], seen[1])])
        all_rows.append(rows)
        all_seen.append(seen)
    here = torch.arange(height, dtype=torch.float64, device=ids.device)[:, None]
    squares, seen = (here - torch.stack(all_rows, 2)) ** 2, torch.stack(all_seen, 2)
    return (squares[0], seen[0]), (squares[1], seen[1])


def _shifted(candidate: Candidate, offset: int) -> Candidate:
    """Return each pixel's candidate `offset` columns to its right as seen from the pixel."""
    width = candidate[0].shape[2]
    x = torch.arange(width, device=candidate[0].device) + offset
    outside = (x < 0) | (x >= width)
    x = x.clamp(0, width - 1)
    return (candidate[0][..., x] + offset**2).masked_fill(outside, torch.inf), candidate[1][..., x]


def nearest_two_distances(labels: Tensor, ignore_label: int | None = None) -> tuple[Tensor, Tensor]:
    """Measure the distances to the two nearest instances; see `unet_fast.ops.nearest_two_distances`."""
    ids = instance_ids(labels, ignore_label)
    if ids.numel() == 0:
        return ids.float(), ids.float()
    below, second_below = ((square.flip(1), seen.flip(1)) for square, seen in _sweep(ids.flip(1)))
    column = _insert(_insert(_sweep(ids), below), second_below)
    nearest = column
    for k in range(1, ids.shape[2]):
        if (nearest[1][0] <= k * k).all():
            break
        for candidate in column:
            nearest = _insert(_insert(nearest, _shifted(candidate, -k)), _shifted(candidate, k))
    return nearest[0][0].sqrt().float(), nearest[1][0].sqrt().float()
