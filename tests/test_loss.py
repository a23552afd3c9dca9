"""The loss module: class balance and the choice of a backend."""

import pytest
import torch

from unet_fast import loss, ops


def test_balance_is_inverse_frequency():
    weights = loss.class_balance([600, 300, 100])
    torch.testing.assert_close(weights, torch.tensor([1000 / 1800, 1000 / 900, 1000 / 300]))
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("counts", [[10**12, 3], [5], [1, 0, 7], torch.tensor([4, 4, 1])])
def test_mean_weight_is_one_and_classes_weigh_the_same(counts):
    pixels = torch.as_tensor(counts).double()
    shares = loss.class_balance(counts).double() * pixels / pixels.sum()
    torch.testing.assert_close(shares.sum().item(), 1.0, rtol=1e-6, atol=0)
    present = shares[pixels > 0]
    torch.testing.assert_close(present, present.mean().expand_as(present), rtol=1e-6, atol=0)


def test_class_that_does_not_occur_weighs_one():
    assert loss.class_balance([3, 0, 1]).tolist() == pytest.approx([4 / 6, 1, 2])
    assert loss.class_balance([0, 0]).tolist() == [1, 1]


def test_none_and_given_weights():
    assert loss.class_balance([3, 1], "none").tolist() == [1, 1]
    assert loss.class_balance([3, 1], [0.25, 7]).tolist() == [0.25, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([3, 1], "even"), 'balance: wanted "balance", "none" or a list of weights, got \'even\''),
        (([3, 1], [1.0]), r"balance: wanted 2 finite weights, each at least 0, got \[1.0\]"),
        (([3, 1], [1.0, -1.0]), "balance: wanted 2 finite weights"),
        (([3, 1], [1.0, float("nan")]), "balance: wanted 2 finite weights"),
        (([3, -1],), r"counts: wanted \[K\] numbers of pixels, each at least 0, got \[3, -1\]"),
        (([],), "counts: wanted"),
    ],
)
def test_balance_errors(arguments, message):
    with pytest.raises(ValueError, match="class_balance: " + message):
        loss.class_balance(*arguments)


@pytest.mark.parametrize("normalization", ["weight", "pixels", "sum"])
def test_backends_agree(generator, normalization):
    labels = torch.zeros(2, 30, 40, dtype=torch.int32)
    labels[:, 3:12, 5:20], labels[:, 14:25, 9:30], labels[1, 28:] = 1, 2, 9
    classes = ops.target_classes(labels, ignore_label=9)
    counts = [(classes == 0).sum(), (classes == 1).sum()]
    weights = ops.weight_map(labels, loss.class_balance(counts), ignore_label=9)
    values, grads = [], []
    for backend in ("native", "torch"):
        logits = torch.randn(2, 2, 30, 40, generator=torch.Generator().manual_seed(1), requires_grad=True)
        value = loss.weighted_cross_entropy(logits, classes, weights, normalization=normalization, backend=backend)
        value.backward()
        values.append(value.detach())
        grads.append(logits.grad)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-8)


def test_unknown_backend():
    with pytest.raises(ValueError, match="backend: wanted native or torch, got numpy"):
        loss.weighted_cross_entropy(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3).byte(), backend="numpy")
