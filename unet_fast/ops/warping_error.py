"""Warp a segmentation onto a proposal without changing its topology, and classify what does not fit (Jain 2010)."""

from typing import NamedTuple

import torch
from torch import Tensor

from unet_fast.ops._native import _C, empty, register


class WarpingErrors(NamedTuple):
    """What `warping_error` returns.

    Attributes:
        counts: [Z, S, 6] int64, residual pixels of each slice and threshold by type: merge, split, hole addition, hole
            deletion, object addition, object deletion.
        residual: [Z, S, H, W] uint8, type of each residual pixel in the order of `counts` (1 = merge), 0 elsewhere.
        warped: [Z, S, H, W] uint8, the warped truth, 0 or 1.
    """

    counts: Tensor
    residual: Tensor
    warped: Tensor


def warping_error(
    truth: Tensor,
    probability: Tensor,
    thresholds: Tensor,
    *,
    mask: Tensor | None = None,
    radius: int = 20,
    maps: bool = True,
) -> WarpingErrors:
    """Warp the truth of each slice towards the proposal at each threshold and classify the residual mismatches.

    Pixels at which the truth and the proposal (probability > threshold) differ are flipped, the most decided first,
    where the flip changes the topology of neither objects (4-connected) nor background (8-connected), until none is
    left that may be flipped. Ties go column by column. Exists on the CPU only: every flip depends on the ones before.

    Args:
        truth: [Z, H, W] bool or uint8, not 0 = interior. Slices are independent.
        probability: [Z, H, W] float32, of interior.
        thresholds: [S] float32; a pixel is interior where its probability is greater.
        mask: [Z, H, W] bool or uint8, the pixels that may be flipped and are counted; None is all (default, as in
            Fiji).
        radius: whether a residual pixel splits an object is decided in a window of this radius around it, pixels, at
            least 1; default 20, as in Fiji. -1 is the whole image.
        maps: whether to return `residual` and `warped`; without them they are empty, [Z, S, 0, 0].

    Returns:
        Counts by type, a map of types, and the warped truth.

    Raises:
        ValueError: an argument has the wrong shape or device.
        TypeError: an argument has the wrong dtype.
    """
    return WarpingErrors(*torch.ops.unet_fast.warping_error(truth, probability, thresholds, mask, radius, maps))


def _empty(
    truth: Tensor, probability: Tensor, thresholds: Tensor, mask: Tensor | None, radius: int, maps: bool
) -> tuple[Tensor, Tensor, Tensor]:
    size = (truth.shape[0], thresholds.shape[0])
    image = truth.shape[1:] if maps else (0, 0)
    counts = truth.new_empty((*size, 6), dtype=torch.int64)
    residual, warped = (truth.new_empty((*size, *image), dtype=torch.uint8) for _ in range(2))
    return counts, residual, warped


def _warping_error(
    truth: Tensor, probability: Tensor, thresholds: Tensor, mask: Tensor | None, radius: int, maps: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if truth.dim() != 3 or thresholds.dim() != 1:
        raise ValueError(
            "warping_error: truth, thresholds: wanted shapes [Z, H, W] and [S], "
            f"got {list(truth.shape)} and {list(thresholds.shape)}"
        )
    counts, residual, warped = _empty(truth, probability, thresholds, mask, radius, maps)
    tasks = truth.shape[0] * thresholds.shape[0]
    pixels = (truth.shape[1] + 2) * (truth.shape[2] + 2)
    lanes = min(tasks, torch.get_num_threads())
    workspace = empty(truth, (lanes, _C.warping_error_planes, pixels), dtype=torch.int32)
    _C.warping_error(
        truth.contiguous(),
        probability.contiguous(),
        thresholds.contiguous(),
        None if mask is None else mask.contiguous(),
        radius,
        counts,
        residual if maps else None,
        warped if maps else None,
        workspace,
    )
    return counts, residual, warped


register(
    "warping_error(Tensor truth, Tensor probability, Tensor thresholds, Tensor? mask, int radius, bool maps) "
    "-> (Tensor counts, Tensor residual, Tensor warped)",
    _warping_error,
    _empty,
)
