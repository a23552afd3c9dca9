"""max_pool: 2x2 maximum, forward and backward."""

import pytest
import torch

from tests.norms import random_tensor
from unet_fast import ops, reference

SHAPES = [(1, 1, 2, 2), (2, 3, 4, 6), (1, 8, 12, 10), (2, 17, 6, 14), (1, 64, 36, 30)]
DTYPES = [torch.float32, torch.bfloat16]
NAN = float("nan")


def test_by_eye(device):
    x = torch.tensor([[1.0, 2.0, -1.0, -2.0], [4.0, 3.0, -3.0, -1.0]], device=device).reshape(1, 1, 2, 4)
    x.requires_grad_()
    y = ops.max_pool(x)
    assert y.flatten().tolist() == [4, -1]
    (grad,) = torch.autograd.grad(y, x, torch.tensor([[[[5.0, 7.0]]]], device=device))
    assert grad[0, 0].tolist() == [[0, 0, 7, 0], [5, 0, 0, 0]]  # of two maxima the first


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_reference(device, generator, shape, dtype):
    # Rounded to few values, so that there are many ties.
    x = random_tensor(shape, generator, device).mul(2).round().to(dtype).requires_grad_()
    y, wanted = ops.max_pool(x), reference.max_pool(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, wanted)
    grad = random_tensor(tuple(y.shape), generator, device, dtype)
    (got,), (wanted,) = torch.autograd.grad(y, x, grad), torch.autograd.grad(wanted, x, grad)
    assert torch.equal(got, wanted)


def test_nan_and_infinity_as_torch(device):
    values = torch.tensor([0.0, 1.0, NAN, float("-inf")], device=device)
    x = torch.cartesian_prod(values, values, values, values).reshape(1, 256, 2, 2).requires_grad_()
    y, wanted = ops.max_pool(x), reference.max_pool(x)
    torch.testing.assert_close(y, wanted, rtol=0, atol=0, equal_nan=True)
    (got,), (grad,) = torch.autograd.grad(y.sum(), x), torch.autograd.grad(wanted.sum(), x)
    assert torch.equal(got, grad)


def test_any_strides(device, generator):
    x = random_tensor((2, 20, 24, 30), generator, device)[:, 1:17, 2:20, 3:29].requires_grad_()
    y, wanted = ops.max_pool(x), reference.max_pool(x)
    assert torch.equal(y, wanted)
    grad = torch.ones(1, device=device).expand(y.shape)
    assert torch.equal(*(torch.autograd.grad(pooled, x, grad)[0] for pooled in (y, wanted)))


def test_same_bits_for_any_number_of_threads(generator):
    x = random_tensor((1, 12, 120, 130), generator, torch.device("cpu")).requires_grad_()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        y = ops.max_pool(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), x)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (1, 0, 4, 4), (1, 3, 0, 4)])
def test_empty(device, shape):
    x = torch.zeros(shape, device=device, requires_grad=True)
    y = ops.max_pool(x)
    assert y.shape == (shape[0], shape[1], shape[2] // 2, 2)
    assert torch.autograd.grad(y.sum(), x)[0].shape == shape


def test_opcheck(device, generator):
    x = random_tensor((2, 5, 6, 8), generator, device)
    torch.library.opcheck(torch.ops.unet_fast.max_pool.default, (x,))
    torch.library.opcheck(torch.ops.unet_fast.max_pool_backward.default, (ops.max_pool(x), x))
    skip = random_tensor((2, 5, 2, 4), generator, device)
    torch.library.opcheck(torch.ops.unet_fast.max_pool_backward.default, (ops.max_pool(x), x, skip, True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("shape", "crop"), [((2, 5, 8, 12), 2), ((1, 33, 6, 6), 1), ((1, 16, 10, 12), 0)])
def test_backward_past_the_pool(device, generator, shape, crop, dtype):
    """What comes back to the centre of x is added, and a ReLU's input gets nothing where its result is 0."""
    n, c, h, w = shape
    x = random_tensor(shape, generator, device, dtype).relu()
    grad = random_tensor((n, c, h // 2, w // 2), generator, device, dtype)
    skip = random_tensor((n, c, h - 2 * crop, w - 2 * crop), generator, device, dtype)
    got = torch.ops.unet_fast.max_pool_backward(grad, x, skip, True)
    plain = torch.ops.unet_fast.max_pool_backward(grad, x).float()
    wanted = (plain + torch.nn.functional.pad(skip.float(), (crop,) * 4)) * (x > 0)
    torch.testing.assert_close(got, wanted.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("shape", "crop"), [((2, 5, 8, 12), 2), ((1, 33, 6, 6), 1), ((1, 16, 10, 12), 0)])
def test_crop_and_pool(device, generator, shape, crop, dtype):
    x = random_tensor(shape, generator, device, dtype).requires_grad_()
    ours, theirs = ops.crop_and_pool(x, crop), reference.crop_and_pool(x, crop)
    grads = [random_tensor(tuple(part.shape), generator, device, dtype) for part in theirs]
    for found, wanted in zip(ours, theirs, strict=True):
        assert torch.equal(found, wanted)
    (found,), (wanted,) = (torch.autograd.grad(parts, x, grads) for parts in (ours, theirs))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 if dtype == torch.float32 else 2e-2)
    assert ours[0].untyped_storage().data_ptr() == x.untyped_storage().data_ptr()  # nothing was copied
    with pytest.raises(ValueError, match=r"crop_and_pool: crop: wanted 0 to \d, got 6"):
        ops.crop_and_pool(x, 6)


def test_compiles_without_graph_break(generator):
    x = random_tensor((2, 5, 6, 8), generator, torch.device("cpu")).requires_grad_()
    compiled = torch.compile(ops.max_pool, fullgraph=True, backend="aot_eager")
    for function in (ops.max_pool, compiled):
        (grad,) = torch.autograd.grad(function(x).square().sum(), x)
        assert torch.equal(grad, torch.autograd.grad(reference.max_pool(x).square().sum(), x)[0])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(4, 6, 6), ValueError, r"x: wanted shape \[N, C, H, W\], got \[4, 6, 6\]"),
        (torch.zeros(1, 4, 5, 6), ValueError, r"x: wanted even height and width, got \[1, 4, 5, 6\]"),
        (torch.zeros(1, 4, 6, 7), ValueError, r"x: wanted even height and width, got \[1, 4, 6, 7\]"),
        (torch.zeros(1, 4, 6, 6).double(), TypeError, "x: wanted dtype bfloat16 or float32, got float64"),
    ],
)
def test_errors(x, error, message):
    with pytest.raises(error, match="max_pool: " + message):
        ops.max_pool(x)


def test_errors_of_backward():
    with pytest.raises(
        ValueError, match=r"max_pool_backward: grad_skip: wanted shape \[1, 4, 4, 4\], got \[1, 4, 4, 3\]"
    ):
        torch.ops.unet_fast.max_pool_backward(torch.zeros(1, 4, 3, 3), torch.zeros(1, 4, 6, 6), torch.zeros(1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"max_pool_backward: grad: wanted shape \[1, 4, 3, 3\], got \[1, 4, 3, 2\]"):
        torch.ops.unet_fast.max_pool_backward(torch.zeros(1, 4, 3, 2), torch.zeros(1, 4, 6, 6))
