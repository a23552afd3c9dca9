"""weighted_cross_entropy in plain PyTorch."""

import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(
    logits: Tensor, classes: Tensor, weights: Tensor | None = None, normalization: str = "weight"
) -> Tensor:
    """Compute the weighted cross entropy; see `unet_fast.ops.weighted_cross_entropy`."""
    if normalization not in ("weight", "pixels", "sum"):
        raise ValueError(f"weighted_cross_entropy: normalization: wanted weight, pixels or sum, got {normalization}")
    logits = logits if logits.dtype.itemsize >= 4 else logits.float()  # half precision is summed in single
    losses = F.cross_entropy(logits, classes.long(), reduction="none", ignore_index=255)  # 0 where ignored
    counted = (classes != 255).to(losses.dtype)
    weights = counted if weights is None else weights * counted
    total = (losses * weights).sum()
    if normalization == "sum":
        return total
    divisor = weights.sum() if normalization == "weight" else weights.new_tensor(float(weights.numel()))
    return total * (divisor != 0) / divisor.where(divisor != 0, 1)
