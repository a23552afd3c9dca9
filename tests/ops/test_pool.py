"""The pool of blocks from which large results on the CPU come."""

import pytest
import torch

from unet_fast import ops
from unet_fast.ops._native import _C, empty

LARGE = (2, 64, 100, 90)


def fresh():
    return empty(torch.zeros(1), LARGE, torch.channels_last)


def test_memory_is_used_again():
    address = fresh().data_ptr()
    assert fresh().data_ptr() == address
    first = fresh()
    second = fresh()
    assert {first.data_ptr(), second.data_ptr()} == {address, second.data_ptr()}
    assert second.data_ptr() != address


def test_a_view_keeps_its_block():
    view = fresh()[0, 3:5].fill_(7)
    other = fresh().fill_(1)
    assert view.eq(7).all()
    assert other.eq(1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_it_is_a_tensor_like_any_other(dtype, memory_format):
    tensor = empty(torch.zeros(1, dtype=dtype), LARGE, memory_format)
    plain = torch.empty(LARGE, dtype=dtype, memory_format=memory_format)
    assert (tensor.shape, tensor.stride(), tensor.dtype) == (plain.shape, plain.stride(), plain.dtype)
    assert tensor.data_ptr() % 64 == 0
    assert not tensor._is_view()
    tensor.requires_grad_().mul(2).sum().backward()
    assert tensor.grad.eq(2).all()


def test_smaller_sizes_take_the_block_of_larger_ones():
    ops.empty_cache()
    address = fresh().data_ptr()
    assert empty(torch.zeros(1), (1, 64, 100, 91), torch.channels_last).data_ptr() == address  # half of it
    assert empty(torch.zeros(1), (1, 64, 100, 60), torch.channels_last).data_ptr() != address  # a third would waste it


def test_empty_cache_gives_free_blocks_back():
    ops.empty_cache()
    kept = fresh()
    fresh()
    before = _C.pooled_bytes()
    ops.empty_cache()
    assert _C.pooled_bytes() == before - 4 * kept.numel()


def test_a_capsule_that_becomes_no_tensor_gives_its_block_back():
    ops.empty_cache()
    before = _C.pooled_bytes()
    capsule = _C.pooled_empty([1 << 20], [1], False)
    assert _C.pooled_bytes() == before + (4 << 20)
    del capsule
    ops.empty_cache()
    assert _C.pooled_bytes() == before


def test_blocks_that_are_not_wanted_any_more_are_given_back():
    ops.empty_cache()
    empty(torch.zeros(1), (64 << 20,), torch.contiguous_format)
    for _ in range(600):
        fresh()
    with_large = _C.pooled_bytes()
    empty(torch.zeros(1), (8 << 20,), torch.contiguous_format)  # no block fits, so there is reason to look
    assert _C.pooled_bytes() == with_large - (256 << 20) + (32 << 20)
