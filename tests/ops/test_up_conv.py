"""up_conv: transposed 2x2 convolution, forward and backward."""

import pytest
import torch

from tests.norms import random_tensor, relative_l2
from unet_fast import ops, reference

# (N, C, O, H, W): around the kernels' blocks of 16 or 32 values and 6, 12 or 14 pixels, odd, tiny, and the network's.
SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 3, 5, 4, 7),
    (1, 16, 8, 14, 15),
    (2, 17, 7, 3, 12),
    (1, 32, 16, 20, 29),
    (1, 33, 20, 5, 13),
    (3, 64, 32, 6, 40),
    (1, 128, 64, 5, 28),
]
BOUND = {torch.float32: 1e-6, torch.bfloat16: 1e-2}
WEIGHT_BOUND = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
DTYPES = [torch.float32, torch.bfloat16]


def arguments(shape, generator, device, dtype=torch.float32):
    n, c, o, h, w = shape
    x = random_tensor((n, c, h, w), generator, device, dtype)
    weight = random_tensor((c, o, 2, 2), generator, device, dtype) * (2 / c) ** 0.5
    return x, weight, random_tensor((o,), generator, device, dtype)


def double(*tensors):
    return [tensor.detach().double().cpu().requires_grad_() for tensor in tensors]


def test_by_eye(device):
    x = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]], device=device)  # two channels, one row of two pixels
    weight = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]], [[[0.0, 0.0], [0.0, 1.0]]]], device=device)
    y = ops.up_conv(x, weight, torch.tensor([0.5], device=device))
    assert y[0, 0].tolist() == [[1.5, 2.5, 2.5, 4.5], [3.5, 14.5, 6.5, 28.5]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_float64_with_gradients(device, generator, shape, dtype):
    args = [tensor.requires_grad_() for tensor in arguments(shape, generator, device, dtype)]
    exact = double(*args)
    y, wanted = ops.up_conv(*args), reference.up_conv(*exact)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert relative_l2(y, wanted) <= BOUND[dtype]
    grad = random_tensor(tuple(y.shape), generator, device, dtype)
    got, wanted = torch.autograd.grad(y, args, grad), torch.autograd.grad(wanted, exact, grad.double().cpu())
    assert [tensor.dtype for tensor in got] == [dtype] * 3
    assert relative_l2(got[0], wanted[0]) <= BOUND[dtype]
    assert relative_l2(got[1], wanted[1]) <= WEIGHT_BOUND[dtype]
    assert relative_l2(got[2], wanted[2]) <= WEIGHT_BOUND[dtype]


def test_float16_and_tf32_on_cuda(cuda, generator):
    """Tensor cores, and float16 where numbers of channels are not for them; the same bits twice."""
    for shape, dtype, bound in [
        ((2, 72, 40, 9, 17), torch.float16, 1e-3),
        ((1, 12, 20, 5, 6), torch.float16, 1e-3),
        ((2, 72, 40, 9, 17), torch.float32, 1e-3),  # rounded to TF32
    ]:
        args = [tensor.requires_grad_() for tensor in arguments(shape, generator, cuda, dtype)]
        torch.set_float32_matmul_precision("high")
        try:
            runs = []
            for _ in range(2):
                y = ops.up_conv(*args)
                runs.append([y, *torch.autograd.grad(y, args, torch.ones_like(y))])
        finally:
            torch.set_float32_matmul_precision("highest")
        exact = double(*args)
        wanted = reference.up_conv(*exact)
        wanted = [wanted, *torch.autograd.grad(wanted, exact, torch.ones_like(wanted))]
        for first, second, want in zip(*runs, wanted, strict=True):
            assert first.dtype == dtype
            assert torch.equal(first, second)
            assert relative_l2(first, want) <= bound


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)])
def test_gradient_of_one_argument(device, generator, needs):
    args = arguments((1, 5, 6, 7, 8), generator, device)
    leaves = [a.clone().requires_grad_(need) for a, need in zip(args, needs, strict=True)]
    ops.up_conv(*leaves).square().sum().backward()
    assert tuple(leaf.grad is not None for leaf in leaves) == needs
    exact = double(*args)
    reference.up_conv(*exact).square().sum().backward()
    for leaf, wanted in zip(leaves, exact, strict=True):
        if leaf.grad is not None:
            assert relative_l2(leaf.grad, wanted.grad) <= 2e-6


def test_any_strides(device, generator):
    x, weight, bias = arguments((2, 20, 12, 24, 30), generator, device)
    cut, narrow = x[:, 2:18, 1:23, 3:29], weight[2:18, ::2]
    expected = ops.up_conv(cut.contiguous(), narrow.contiguous(), bias[::2].contiguous())
    torch.testing.assert_close(ops.up_conv(cut, narrow, bias[::2]), expected, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 16, 8, 70, 90), (1, 60, 40, 30, 31)])
def test_same_bits_for_any_number_of_threads(generator, shape):
    args = [tensor.requires_grad_() for tensor in arguments(shape, generator, torch.device("cpu"))]
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        y = ops.up_conv(*args)
        results.append([y, *torch.autograd.grad(y.square().sum(), args)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("size", [(0, 4, 5, 5), (2, 4, 0, 5)])
def test_no_pixels(device, size):
    leaves = [t.to(device).requires_grad_() for t in (torch.zeros(size), torch.ones(4, 6, 2, 2), torch.ones(6))]
    y = ops.up_conv(*leaves)
    assert y.shape == (size[0], 6, 2 * size[2], 2 * size[3])
    grads = torch.autograd.grad(y.sum(), leaves)
    assert not grads[1].any()
    assert not grads[2].any()


def test_opcheck(device, generator):
    x, weight, bias = arguments((2, 5, 6, 7, 8), generator, device)
    torch.library.opcheck(torch.ops.unet_fast.up_conv.default, (x, weight, bias))
    grad = torch.ones_like(ops.up_conv(x, weight, bias))
    for needs in ([True, True, True], [True, False, False], [False, True, False]):
        torch.library.opcheck(torch.ops.unet_fast.up_conv_backward.default, (grad, x, weight, needs))


def test_compiles_without_graph_break(generator):
    args = arguments((1, 5, 6, 7, 8), generator, torch.device("cpu"))
    results = []
    for function in (ops.up_conv, torch.compile(ops.up_conv, fullgraph=True, backend="aot_eager")):
        leaves = [tensor.clone().requires_grad_() for tensor in args]
        y = function(*leaves)
        results.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(4, 5, 5)}, ValueError, r"x, weight: wanted shapes .* got \[4, 5, 5\] and \[4, 6, 2, 2\]"),
        ({"x": torch.zeros(1, 4, 5, 5).half()}, TypeError, "x: wanted dtype bfloat16 or float32, got float16"),
        ({"x": torch.zeros(1, 3, 5, 5)}, ValueError, r"weight: wanted shape \[3, O, 2, 2\], got \[4, 6, 2, 2\]"),
        ({"weight": torch.zeros(4, 6, 3, 3)}, ValueError, r"weight: wanted shape \[4, O, 2, 2\], got \[4, 6, 3, 3\]"),
        ({"weight": torch.zeros(4, 6, 2, 2).bfloat16()}, TypeError, "weight: wanted dtype float32, got bfloat16"),
        ({"bias": torch.zeros(5)}, ValueError, r"bias: wanted shape \[6\], got \[5\]"),
        ({"bias": torch.zeros(6).double()}, TypeError, "bias: wanted dtype float32, got float64"),
    ],
)
def test_errors(change, error, message):
    arguments = {"x": torch.zeros(1, 4, 5, 5), "weight": torch.zeros(4, 6, 2, 2), "bias": torch.zeros(6)} | change
    with pytest.raises(error, match="up_conv: " + message):
        ops.up_conv(**arguments)


def test_errors_of_backward():
    grad, x, weight = torch.zeros(1, 6, 10, 9), torch.zeros(1, 4, 5, 5), torch.zeros(4, 6, 2, 2)
    for needs in ([True, False, False], [False, True, True]):
        with pytest.raises(ValueError, match=r"up_conv_backward: grad: wanted shape \[1, 6, 10, 10\], got"):
            torch.ops.unet_fast.up_conv_backward(grad, x, weight, needs)
