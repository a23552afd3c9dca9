"""weighted_cross_entropy, forward and backward, against F.cross_entropy times the weights."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks import rivals
from benchmarks.agreement import near
from benchmarks.conftest import OURS
from unet_fast import ops

SIDE = 388  # pixels, the paper's output tile


def loss_of_cross_entropy(logits: torch.Tensor, classes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (F.cross_entropy(logits, classes, reduction="none") * weights).sum() / weights.sum()


@pytest.mark.parametrize(("layout", "classes"), [("channels_last", 2), ("channels_last", 9), ("contiguous", 2)])
def test_weighted_cross_entropy(compare, device, quick, layout, classes):
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    logits = torch.randn(4, classes, SIDE, SIDE).contiguous(memory_format=memory_format).requires_grad_()
    target = torch.randint(0, classes, (4, SIDE, SIDE))
    weights = 10 * torch.rand(target.shape)

    def step(compute, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = compute(logits, target, weights)
        return loss.detach(), torch.autograd.grad(loss, logits)[0]

    def lower(logits: torch.Tensor, classes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return loss_of_cross_entropy(logits.bfloat16(), classes, weights.bfloat16()).float()

    small_target = target.byte()
    calls = {
        OURS: lambda: step(ops.weighted_cross_entropy, small_target),
        "F.cross_entropy": lambda: step(loss_of_cross_entropy, target),
        "F.cross_entropy in bfloat16": lambda: step(lower, target),
    }
    if not quick:
        compiled = rivals.compiled(loss_of_cross_entropy)
        calls["F.cross_entropy, torch.compile"] = lambda: step(compiled, target)
    compare(
        calls,
        group="weighted_cross_entropy",
        agreement=near(1e-5),
        exceptions={"F.cross_entropy in bfloat16": near(0.05)},
        references=("F.cross_entropy in bfloat16",),
        gbyte=(4 * 3 * logits.numel() + (1 + 4) * 2 * target.numel()) / 1e9,  # logits twice, gradient, classes, weights
    )
