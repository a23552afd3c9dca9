"""The pool of blocks from which large results on the CPU come."""

import threading

import pytest
import torch

from unet_fast import ops
from unet_fast.ops._native import _C, empty

LARGE = (2, 64, 100, 90)


def fresh(size=LARGE):
    return empty(torch.zeros(1), size, torch.channels_last)


def test_memory_is_used_again():
    address = fresh().data_ptr()
    assert fresh().data_ptr() == address
    first, second = fresh(), fresh()
    assert first.data_ptr() == address
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


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_free_neighbours_are_one_block(order):
    blocks = [fresh(), fresh()]
    after = fresh()
    address = blocks[0].data_ptr()
    assert address < blocks[1].data_ptr() < after.data_ptr()
    for index in order:
        blocks[index] = None
    assert fresh((4, 64, 100, 90)).data_ptr() == address


def test_blocks_do_not_overlap():
    generator = torch.Generator().manual_seed(0)
    alive = {}
    for step in range(300):
        if len(alive) > 5:
            kept = alive.pop(next(iter(alive)))
            assert kept[1].eq(kept[0]).all()
        rows = int(torch.randint(50, 400, (1,), generator=generator))
        alive[step] = (step, fresh((1, 64, rows, 90)).fill_(step))
    assert all(tensor.eq(value).all() for value, tensor in alive.values())


def test_other_threads_give_blocks_back():
    before = _C.lent_bytes()
    held = [fresh() for _ in range(8)]
    threads = [threading.Thread(target=held.pop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _C.lent_bytes() == before


def test_more_than_a_segment():
    large = empty(torch.zeros(1), (300 << 20,), torch.contiguous_format)  # 1.2 GB, of which one page is written
    large[-1] = 1
    del large
    ops.empty_cache()
    assert fresh().fill_(1).eq(1).all()
