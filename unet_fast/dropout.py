"""Dropout whose masks are the samples' own.

Masks come from a counter: the numbers of a sample are those of the generator SplitMix64 (Steele, Lea and Flood 2014)
whose state is its seed. So they are the same on every device, and a CUDA graph that reads the seeds draws new masks
each time.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Seeds = Sequence[int] | Tensor | None

# Constants of SplitMix64 as signed 64-bit numbers.
_STEP, _FACTOR_1, _FACTOR_2 = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def drop(x: Tensor, probability: float, training: bool, seeds: Seeds, place: int) -> Tensor:
    """Drop values at random while training.

    Args:
        x: [N, C, H, W].
        probability: of a value to be dropped, in [0, 1), in steps of 2^-16.
        training: whether the network trains; else `x` is returned.
        seeds: N numbers, 0 to 2^63 - 1, or a tensor int64 [N] of them: the mask of an image then depends on its own
            alone, whatever else is in the batch. None takes torch's generator.
        place: tells the layers of a network apart; added to the seeds.
    """
    if seeds is None or not training or probability == 0:
        return F.dropout(x, probability, training)
    dropped = min(round(probability * 2**16), 2**16 - 1)
    n, channels, height, width = x.shape
    draws = _draws(torch.as_tensor(seeds, device=x.device) + place, channels * height * width)
    keep = (draws >= dropped - 2**15).view(n, height, width, channels).permute(0, 3, 1, 2)
    return x * keep.to(x.dtype).mul_(2**16 / (2**16 - dropped))


def _draws(seeds: Tensor, count: int) -> Tensor:
    """Return `count` numbers, evenly spread over int16, for each seed: [N, count], four from a word."""
    counter = torch.arange(1, -(-count // 4) + 1, device=seeds.device)
    # Seeds are mixed first, for those of neighbouring layers differ by 1.
    words = _mixed(_mixed(seeds)[:, None] + _STEP * counter)
    return words.view(torch.int16)[:, :count].contiguous()


def _mixed(state: Tensor) -> Tensor:
    """Return the word that SplitMix64 makes of its state; int64, modulo 2^64."""
    word = (state ^ _shifted(state, 30)) * _FACTOR_1
    word = (word ^ _shifted(word, 27)) * _FACTOR_2
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, bits: int) -> Tensor:
    return (word >> bits) & ((1 << (64 - bits)) - 1)
