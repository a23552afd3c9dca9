"""The energy function of the paper: a pixel-wise softmax, cross entropy, and weights (equations 1 and 2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unet_fast import ops, reference


def class_balance(counts: Sequence[int] | Tensor, balance: str | Sequence[float] = "balance") -> Tensor:
    """Give each class its weight w_c in the weight map.

    Args:
        counts: pixels of each class over the whole training set, [K], each at least 0.
        balance: "balance" (default, the paper's balance of class frequencies): inverse frequency, N / (K N_k), so that
            all classes weigh the same and the mean weight over the training set is 1. A class without pixels weighs 1
            and does not count in K.
            "none": 1 for every class.
            A list of K weights, each finite and at least 0: these.

    Returns:
        [K] float32, on the CPU.

    Raises:
        ValueError: `balance` is unknown or does not fit `counts`, or a count or weight is negative.
    """
    pixels = torch.as_tensor(counts, dtype=torch.float64).cpu()
    if pixels.ndim != 1 or pixels.numel() == 0 or not (pixels >= 0).all():
        raise ValueError(f"class_balance: counts: wanted [K] numbers of pixels, each at least 0, got {counts}")
    if not isinstance(balance, str):
        weights = torch.as_tensor(balance, dtype=torch.float32)
        if weights.shape != pixels.shape or not (weights.isfinite() & (weights >= 0)).all():
            raise ValueError(
                f"class_balance: balance: wanted {len(pixels)} finite weights, each at least 0, got {balance}"
            )
        return weights
    if balance == "none":
        return torch.ones(len(pixels))
    if balance != "balance":
        raise ValueError(f'class_balance: balance: wanted "balance", "none" or a list of weights, got {balance!r}')
    occurs = pixels > 0
    return torch.where(occurs, pixels.sum() / (occurs.sum() * pixels.where(occurs, 1)), 1).float()


def weighted_cross_entropy(
    logits: Tensor,
    classes: Tensor,
    weights: Tensor | None = None,
    *,
    normalization: str = "weight",
    backend: str = "native",
) -> Tensor:
    """Compute the weighted cross entropy; see `unet_fast.ops.weighted_cross_entropy` for the first four arguments.

    Args:
        logits: [N, K, H, W].
        classes: [N, H, W], 255 ignored.
        weights: [N, H, W] or None.
        normalization: "weight" (default), "pixels" or "sum".
        backend: "native" (default), this package's kernels, or "torch", plain PyTorch.

    Returns:
        The loss, a scalar with a gradient to `logits`.

    Raises:
        ValueError: `backend` is unknown, or as the operator says.
        TypeError: as the operator says.
    """
    if backend not in ("native", "torch"):
        raise ValueError(f"weighted_cross_entropy: backend: wanted native or torch, got {backend}")
    compute = ops.weighted_cross_entropy if backend == "native" else reference.weighted_cross_entropy
    return compute(logits, classes, weights, normalization)
