"""Dropout whose masks are the samples' own."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def drop(x: Tensor, probability: float, training: bool, seeds: Sequence[int] | None, place: int) -> Tensor:
    """Drop values at random while training.

    Args:
        x: [N, ...].
        probability: of a value to be dropped, in [0, 1).
        training: whether the network trains; else `x` is returned.
        seeds: N numbers, 0 to 2^63 - 1: the mask of an image then depends on its own alone, whatever else is in the
            batch. None takes torch's generator.
        place: tells the layers of a network apart; added to the seeds.
    """
    if seeds is None or not training or probability == 0:
        return F.dropout(x, probability, training)
    keep = torch.empty(x.shape, device=x.device, dtype=x.dtype)
    for mask, seed in zip(keep, seeds, strict=True):
        mask.bernoulli_(1 - probability, generator=torch.Generator(x.device).manual_seed(seed + place))
    return x * keep.div_(1 - probability)
