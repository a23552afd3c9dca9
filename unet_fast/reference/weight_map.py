"""weight_map in plain PyTorch."""

import torch
from torch import Tensor

from unet_fast.reference.nearest_two_distances import nearest_two_distances
from unet_fast.reference.target_classes import target_classes


def weight_map(
    labels: Tensor,
    class_weight: Tensor,
    border: float = 10.0,
    sigma: float = 5.0,
    gap: str = "scan",
    where: str = "background",
    *,
    ignore_label: int | None = None,
    classes: Tensor | None = None,
) -> Tensor:
    """Weigh each pixel; see `unet_fast.ops.weight_map`."""
    if where not in ("background", "everywhere"):
        raise ValueError(f"weight_map: where: wanted background or everywhere, got {where}")
    if classes is None:
        classes = target_classes(labels, gap, ignore_label)
    elif ignore_label is not None:
        classes = classes.masked_fill(labels.to(torch.int64) == ignore_label, 255)
    ignored = classes == 255
    d1, d2 = nearest_two_distances(labels, ignore_label)
    term = border * torch.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
    if where == "background":
        term = term.masked_fill(classes != 0, 0)
    weights = class_weight[classes.masked_fill(ignored, 0).long()] + term
    return weights.masked_fill(ignored, 0)
