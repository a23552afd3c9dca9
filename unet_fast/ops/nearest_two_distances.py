"""Measure the distances to the nearest and to the second nearest instance (d1 and d2 of the paper's equation 2)."""

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register, stream


def nearest_two_distances(labels: Tensor, ignore_label: int | None = None) -> tuple[Tensor, Tensor]:
    """Measure the Euclidean distance of each pixel to its nearest and to its second nearest distinct instance.

    A distance runs between pixel centres, to the nearest pixel of the instance; it is exact (a whole number's root,
    rounded once). On the CPU the time grows with the number of pixels alone, however many instances there are and
    wherever they lie.

    Args:
        labels: [N, H, W], uint8, uint16, uint32, int32 or int64, any strides: instance ids, 0 and less is background.
            At most 23170 pixels a side.
        ignore_label: the label of pixels that belong to no instance; None (default) for none.

    Returns:
        d1, d2: [N, H, W] float32, pixels. d1 is 0 inside an instance and infinite in an image without one; d2 is
        infinite in an image with fewer than two.

    Raises:
        ValueError: `labels` has the wrong shape.
        TypeError: `labels` has the wrong dtype.
    """
    return torch.ops.unet_fast.nearest_two_distances(labels, ignore_label, None)  # type: ignore[no-any-return]


def nearest_two_workspace(labels: Tensor, op: str) -> Tensor:
    """Allocate the scratch memory that `op` needs to search for the two nearest instances."""
    return empty(labels, (_C.nearest_two_workspace(labels, op),), dtype=torch.uint8)


def _empty(labels: Tensor, ignore_label: int | None, reach: int | None) -> tuple[Tensor, Tensor]:
    return empty(labels, labels.shape, dtype=torch.float32), empty(labels, labels.shape, dtype=torch.float32)


def _nearest_two_distances(labels: Tensor, ignore_label: int | None, reach: int | None) -> tuple[Tensor, Tensor]:
    d1, d2 = _empty(labels, ignore_label, reach)
    labels = labels.contiguous()
    workspace = nearest_two_workspace(labels, "nearest_two_distances")
    _C.nearest_two_distances(labels, ignore_label, reach, d1, d2, workspace, stream(labels))
    return d1, d2


# `reach` (pixels) cuts the search off: where d1 + d2 <= reach both are exact, elsewhere their sum is larger than it.
register(
    "nearest_two_distances(Tensor labels, int? ignore_label, int? reach) -> (Tensor, Tensor)",
    _nearest_two_distances,
    _empty,
)
