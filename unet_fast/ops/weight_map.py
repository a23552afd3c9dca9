"""Weigh each pixel's part in the loss: class balance and the borders between instances (equation 2 of the paper)."""

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register, stream
from unet_fast.ops.nearest_two_distances import nearest_two_workspace
from unet_fast.ops.target_classes import target_classes


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
    """Compute w = w_c + border * exp(-(d1 + d2)^2 / (2 sigma^2)).

    w_c is the weight of the pixel's class, d1 and d2 are the distances to the nearest and to the second nearest
    distinct instance (`nearest_two_distances`, on the map before the gap is cut). With fewer than two instances the
    second term is 0. The search ends where the term is too small to change a float32 weight: 32 pixels for the
    defaults and a class weight of 1.

    Args:
        labels: [N, H, W], uint8, uint16, uint32, int32 or int64, any strides: instance ids, 0 and less is background.
            At most 23170 pixels a side.
        class_weight: [K] float32, weight of each class, K from 1 to 255; see `unet_fast.loss.class_balance`.
        border: w0, weight of a border of no width; at least 0; 10 as in the paper.
        sigma: pixels, above 0; 5 as in the paper.
        gap: "scan", "full8" or "none": which pixels of touching instances become background; see `target_classes`.
        where: "background" (default, as in the authors' released code): the second term only on pixels that are
            background once the gap is cut; or "everywhere".
        ignore_label: the label of pixels that weigh 0 and belong to no instance; None (default) for none.
        classes: [N, H, W] uint8, the class of each pixel, 0 background and 255 ignored (weight 0), instead of
            `target_classes(labels, gap, ignore_label)`: for more than two classes, or where they are at hand.

    Returns:
        [N, H, W] float32.

    Raises:
        ValueError: an argument has the wrong shape, device or range; on the CPU also where `classes` holds a class
            without a weight. On CUDA, where looking would wait for the device, such a pixel weighs NaN.
        TypeError: an argument has the wrong dtype.
    """
    if classes is None:
        classes = target_classes(labels, gap, ignore_label)
    elif ignore_label is not None:
        classes = classes.masked_fill(labels.to(torch.int64) == ignore_label, 255)
    return torch.ops.unet_fast.weight_map(labels, class_weight, classes, border, sigma, where, ignore_label)  # type: ignore[no-any-return]


def _empty(
    labels: Tensor,
    class_weight: Tensor,
    classes: Tensor,
    border: float,
    sigma: float,
    where: str,
    ignore_label: int | None,
) -> Tensor:
    return empty(labels, labels.shape, dtype=torch.float32)


def _weight_map(
    labels: Tensor,
    class_weight: Tensor,
    classes: Tensor,
    border: float,
    sigma: float,
    where: str,
    ignore_label: int | None,
) -> Tensor:
    weights = _empty(labels, class_weight, classes, border, sigma, where, ignore_label)
    labels = labels.contiguous()
    _C.weight_map(
        labels,
        class_weight.contiguous(),
        classes.contiguous(),
        border,
        sigma,
        where,
        ignore_label,
        weights,
        nearest_two_workspace(labels, "weight_map"),
        stream(labels),
    )
    return weights


register(
    "weight_map(Tensor labels, Tensor class_weight, Tensor classes, float border, float sigma, str where, "
    "int? ignore_label) -> Tensor",
    _weight_map,
    _empty,
)
