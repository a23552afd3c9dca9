"""Turn an instance map into classes, with a background ridge between touching instances (section 3 of the paper)."""

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register, stream


def target_classes(labels: Tensor, gap: str = "scan", ignore_label: int | None = None) -> Tensor:
    """Give each pixel its class: 1 instance, 0 background, 255 ignored; cut a ridge between touching instances.

    Args:
        labels: [N, H, W], uint8, uint16, uint32, int32 or int64, any strides: instance ids. 0 and less is background.
        gap: which pixels of an instance become background:
            "scan" (default, the rule of the authors' released code): in raster order and in place, a pixel of which a
            neighbour W, NW, N or NE still is another instance; a ridge 1 pixel wide;
            "full8": a pixel of which one of the 8 neighbours in the original map is another instance; a symmetric
            ridge 2 pixels wide;
            "none": no pixel.
        ignore_label: the label of pixels that neither are an instance nor count in the loss; None (default) for none.

    Returns:
        [N, H, W] uint8.

    Raises:
        ValueError: `labels` has the wrong shape, or `gap` is unknown.
        TypeError: `labels` has the wrong dtype.
    """
    return torch.ops.unet_fast.target_classes(labels, gap, ignore_label)  # type: ignore[no-any-return]


def _empty(labels: Tensor, gap: str, ignore_label: int | None) -> Tensor:
    return empty(labels, labels.shape, dtype=torch.uint8)


def _target_classes(labels: Tensor, gap: str, ignore_label: int | None) -> Tensor:
    classes = _empty(labels, gap, ignore_label)
    _C.target_classes(labels.contiguous(), gap, ignore_label, classes, stream(labels))
    return classes


register("target_classes(Tensor labels, str gap, int? ignore_label) -> Tensor", _target_classes, _empty)
