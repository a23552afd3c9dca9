"""Dropout by counter: the published generator, the right share, masks that depend on their own seed alone."""

import pytest
import torch

from unet_fast.dropout import _STEP, _mixed, drop


def test_the_words_are_those_of_splitmix64():
    words = _mixed(torch.tensor(1234567) + _STEP * torch.arange(1, 6))
    assert [int(word) % 2**64 for word in words] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def _masks(probability, seeds, shape, place=0):
    return drop(torch.ones(len(seeds), *shape), probability, True, seeds, place)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_right_share_is_dropped(probability):
    masks = _masks(probability, list(range(20)), (7, 51, 33))
    kept = masks > 0
    assert kept.double().mean().item() == pytest.approx(1 - probability, abs=2e-3)  # 4 standard deviations
    assert torch.unique(masks[kept]).numel() == 1
    assert masks.mean().item() == pytest.approx(1, abs=2e-2)
    for axis in (1, 2, 3):  # neighbours know nothing of each other
        a, b = kept.double().narrow(axis, 1, kept.shape[axis] - 1), kept.double().narrow(axis, 0, kept.shape[axis] - 1)
        assert abs((a * b).mean() - (1 - probability) ** 2) < 4e-3


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (2, 3, 5), (4, 8, 8)])
def test_a_mask_is_that_of_its_seed(shape):
    both = _masks(0.5, [3, 2**62 + 1], shape)
    assert torch.equal(both[1:], _masks(0.5, [2**62 + 1], shape))
    assert torch.equal(both, _masks(0.5, torch.tensor([3, 2**62 + 1]), shape))
    if shape == (4, 8, 8):
        others = [_masks(0.5, [2**62 + 2], shape), _masks(0.5, [2**62 + 1], shape, place=1), both[:1]]
        for other in others:
            assert 0.35 < (other == both[1:]).double().mean() < 0.65


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_values_and_gradients_go_where_the_mask_is(memory_format, dtype, generator):
    x = torch.randn(2, 3, 4, 6, generator=generator).to(dtype).contiguous(memory_format=memory_format).requires_grad_()
    y = drop(x, 0.25, True, [1, 2], 5)
    mask = _masks(0.25, [1, 2], (3, 4, 6), place=5).to(dtype)
    assert torch.equal(y, x * mask) and y.is_contiguous(memory_format=memory_format)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad, mask)


def test_off():
    x = torch.ones(1, 2, 3, 3)
    assert torch.equal(drop(x, 0.5, False, [1], 0), x)
    assert torch.equal(drop(x, 0.0, True, [1], 0), x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_draws_the_same_masks():
    x = torch.ones(2, 5, 7, 9)
    assert torch.equal(drop(x, 0.5, True, [1, 2], 3), drop(x.cuda(), 0.5, True, [1, 2], 3).cpu())
