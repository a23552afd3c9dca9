"""head: 1x1 convolution to the classes, forward and backward."""

import pytest
import torch

from tests.norms import random_tensor, relative_l2
from unet_fast import ops, reference

# (N, C, K, H, W)
SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 3, 2, 4, 7),
    (1, 8, 2, 14, 150),
    (2, 17, 5, 3, 12),
    (1, 64, 2, 20, 29),
    (1, 33, 20, 5, 13),
    (3, 64, 35, 6, 40),
]
BOUND = {torch.float32: 1e-6, torch.bfloat16: 1e-2}
WEIGHT_BOUND = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
DTYPES = [torch.float32, torch.bfloat16]


def arguments(shape, generator, device, dtype=torch.float32):
    n, c, k, h, w = shape
    x = random_tensor((n, c, h, w), generator, device, dtype)
    weight = random_tensor((k, c, 1, 1), generator, device, dtype) * (2 / c) ** 0.5
    return x, weight, random_tensor((k,), generator, device, dtype)


def double(*tensors):
    return [tensor.detach().double().cpu().requires_grad_() for tensor in tensors]


def test_by_eye(device):
    x = torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]], device=device)
    weight = torch.tensor([[1.0, 1.0], [2.0, -1.0], [0.0, 0.5]], device=device).reshape(3, 2, 1, 1)
    y = ops.head(x, weight, torch.tensor([0.0, 0.5, 100.0], device=device))
    assert y[0, :, 0].tolist() == [[11, 22], [-7.5, -15.5], [105, 110]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_float64_with_gradients(device, generator, shape, dtype):
    args = [tensor.requires_grad_() for tensor in arguments(shape, generator, device, dtype)]
    exact = double(*args)
    y, wanted = ops.head(*args), reference.head(*exact)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert relative_l2(y, wanted) <= BOUND[dtype]
    grad = random_tensor(tuple(y.shape), generator, device, dtype)
    got, wanted = torch.autograd.grad(y, args, grad), torch.autograd.grad(wanted, exact, grad.double().cpu())
    assert [tensor.dtype for tensor in got] == [dtype] * 3
    assert relative_l2(got[0], wanted[0]) <= BOUND[dtype]
    assert relative_l2(got[1], wanted[1]) <= WEIGHT_BOUND[dtype]
    assert relative_l2(got[2], wanted[2]) <= WEIGHT_BOUND[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_equals_float64(device, generator, shape, dtype):
    args = arguments(shape, generator, device, dtype)
    found, wanted = ops.head(*args, softmax=True), reference.head(*double(*args)).softmax(1)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert relative_l2(found, wanted) <= 1e-6
    torch.testing.assert_close(
        reference.head(*args, softmax=True), found, rtol=0, atol=1e-5 if dtype.itemsize == 4 else 0.02
    )


def test_softmax_of_extreme_scores(device):
    scores = [
        [1e30, -1e30, 0],
        [0, 0, 0],
        [-1e30, -1e30, -1e30],
        [0, -100, -87.5],
        [torch.inf, 0, 0],
        [torch.nan, 0, 0],
    ]
    x = torch.tensor(scores, device=device).T[None, :, None]
    found = ops.head(x, torch.eye(3, device=device)[..., None, None], torch.zeros(3, device=device), softmax=True)[
        0, :, 0
    ].T
    torch.testing.assert_close(found[:4].double(), x[0, :, 0, :4].T.double().softmax(1), rtol=1e-6, atol=1e-45)
    assert found[4:].isnan().all()


@pytest.mark.parametrize("classes", [1, 2, 3, 8, 9, 21])
def test_bits_of_a_softmax_depend_on_its_pixel_alone(device, generator, classes):
    x, weight, bias = arguments((2, 8, classes, 37, 41), generator, device)
    whole = ops.head(x, 10 * weight, bias, softmax=True)
    for y, x_, height, width in ((0, 0, 1, 1), (3, 7, 33, 34), (36, 1, 1, 39), (5, 40, 30, 1)):
        window = (..., slice(y, y + height), slice(x_, x_ + width))
        assert torch.equal(ops.head(x[window], 10 * weight, bias, softmax=True), whole[window])


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)])
def test_gradient_of_one_argument(device, generator, needs):
    args = arguments((1, 5, 6, 7, 8), generator, device)
    leaves = [a.clone().requires_grad_(need) for a, need in zip(args, needs, strict=True)]
    ops.head(*leaves).square().sum().backward()
    assert tuple(leaf.grad is not None for leaf in leaves) == needs
    exact = double(*args)
    reference.head(*exact).square().sum().backward()
    for leaf, wanted in zip(leaves, exact, strict=True):
        if leaf.grad is not None:
            assert relative_l2(leaf.grad, wanted.grad) <= 2e-6


def test_any_strides(device, generator):
    x, weight, bias = arguments((2, 20, 12, 24, 30), generator, device)
    cut, narrow = x[:, 2:18, 1:23, 3:29], weight[::2, 2:18]
    expected = ops.head(cut.contiguous(), narrow.contiguous(), bias[::2].contiguous())
    torch.testing.assert_close(ops.head(cut, narrow, bias[::2]), expected, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(2, 16, 2, 70, 90), (1, 60, 40, 30, 31)])
def test_same_bits_for_any_number_of_threads(generator, shape):
    args = [tensor.requires_grad_() for tensor in arguments(shape, generator, torch.device("cpu"))]
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        y = ops.head(*args)
        with torch.no_grad():
            probabilities = ops.head(*args, softmax=True)
        results.append([y, probabilities, *torch.autograd.grad(y.square().sum(), args)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("size", [(0, 4, 5, 5), (2, 4, 5, 0)])
def test_no_pixels(device, size):
    leaves = [t.to(device).requires_grad_() for t in (torch.zeros(size), torch.ones(6, 4, 1, 1), torch.ones(6))]
    y = ops.head(*leaves)
    assert y.shape == (size[0], 6, size[2], size[3])
    assert ops.head(*(leaf.detach() for leaf in leaves), softmax=True).shape == y.shape
    grads = torch.autograd.grad(y.sum(), leaves)
    assert not grads[1].any()
    assert not grads[2].any()


def test_opcheck(device, generator):
    x, weight, bias = arguments((2, 5, 6, 7, 8), generator, device)
    for softmax in (False, True):
        torch.library.opcheck(torch.ops.unet_fast.head.default, (x, weight, bias, softmax))
    grad = torch.ones_like(ops.head(x, weight, bias))
    for needs in ([True, True, True], [True, False, False], [False, True, False]):
        torch.library.opcheck(torch.ops.unet_fast.head_backward.default, (grad, x, weight, needs))


def test_compiles_without_graph_break(generator):
    args = arguments((1, 5, 6, 7, 8), generator, torch.device("cpu"))
    results = []
    for function in (ops.head, torch.compile(ops.head, fullgraph=True, backend="aot_eager")):
        leaves = [tensor.clone().requires_grad_() for tensor in args]
        y = function(*leaves)
        results.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(4, 5, 5)}, ValueError, r"x, weight: wanted shapes .* got \[4, 5, 5\] and \[6, 4, 1, 1\]"),
        ({"x": torch.zeros(1, 4, 5, 5).half()}, TypeError, "x: wanted dtype bfloat16 or float32, got float16"),
        ({"x": torch.zeros(1, 3, 5, 5)}, ValueError, r"weight: wanted shape \[K, 3, 1, 1\], got \[6, 4, 1, 1\]"),
        ({"weight": torch.zeros(6, 4, 3, 3)}, ValueError, r"weight: wanted shape \[K, 4, 1, 1\], got \[6, 4, 3, 3\]"),
        ({"weight": torch.zeros(6, 4, 1, 1).bfloat16()}, TypeError, "weight: wanted dtype float32, got bfloat16"),
        ({"bias": torch.zeros(5)}, ValueError, r"bias: wanted shape \[6\], got \[5\]"),
        ({"bias": torch.zeros(6).double()}, TypeError, "bias: wanted dtype float32, got float64"),
    ],
)
def test_errors(change, error, message):
    arguments = {"x": torch.zeros(1, 4, 5, 5), "weight": torch.zeros(6, 4, 1, 1), "bias": torch.zeros(6)} | change
    with pytest.raises(error, match="head: " + message):
        ops.head(**arguments)


def test_softmax_has_no_gradient(generator):
    args = [tensor.requires_grad_() for tensor in arguments((1, 5, 6, 7, 8), generator, torch.device("cpu"))]
    with pytest.raises(ValueError, match="head: softmax: wanted False where gradients are recorded, got True"):
        ops.head(*args, softmax=True)
    with torch.no_grad():
        assert not ops.head(*args, softmax=True).requires_grad


def test_errors_of_backward():
    grad, x, weight = torch.zeros(1, 6, 5, 4), torch.zeros(1, 4, 5, 5), torch.zeros(6, 4, 1, 1)
    for needs in ([True, False, False], [False, True, True]):
        with pytest.raises(ValueError, match=r"head_backward: grad: wanted shape \[1, 6, 5, 5\], got"):
            torch.ops.unet_fast.head_backward(grad, x, weight, needs)
