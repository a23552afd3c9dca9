"""conv_relu: 3x3 convolution, bias and ReLU, forward and backward."""

import pytest
import torch

from tests.norms import random_tensor, relative_l2
from unet_fast import ops, reference

# (N, C, O, H, W): around the kernels' blocks of 16 or 32 channels and 6, 12 or 14 pixels, odd, tiny, and both ends of
# the network. The first layer has blocks of 6, 8 or 12 pixels, strips of 48, and tasks of 8 rows.
SHAPES = [
    (1, 1, 1, 3, 3),
    (1, 1, 64, 12, 17),
    (2, 1, 8, 9, 31),
    (1, 3, 5, 7, 9),
    (2, 2, 40, 5, 3),
    (1, 1, 4, 11, 63),
    (1, 1, 32, 5, 50),
    (3, 2, 24, 10, 51),
    (1, 3, 64, 4, 10),
    (1, 4, 72, 12, 97),
    (2, 4, 1, 9, 14),
    (1, 8, 8, 18, 44),
    (2, 15, 17, 6, 15),
    (1, 16, 16, 17, 16),
    (2, 17, 15, 16, 17),
    (1, 20, 24, 20, 20),
    (1, 32, 31, 5, 130),
    (1, 33, 33, 4, 18),
    (3, 64, 64, 8, 30),
    (1, 64, 2, 9, 150),
    (1, 128, 130, 6, 18),
]
# Wide float32 layers run by Winograd's algorithm, which is less exact; test_conv_relu_algorithms.py has the bounds of
# each algorithm.
BOUND = {torch.float32: 3e-6, torch.bfloat16: 1e-2}
WEIGHT_BOUND = {torch.float32: 1.2e-5, torch.bfloat16: 1e-2}
DTYPES = [torch.float32, torch.bfloat16]


def arguments(shape, generator, device, dtype=torch.float32):
    n, c, o, h, w = shape
    x = random_tensor((n, c, h, w), generator, device, dtype)
    weight = random_tensor((o, c, 3, 3), generator, device, dtype) * (2 / (9 * c)) ** 0.5
    return x, weight, random_tensor((o,), generator, device, dtype)


def double(*tensors):
    return [tensor.detach().double().cpu().requires_grad_() for tensor in tensors]


def test_by_eye(device):
    image = torch.arange(20.0, device=device).reshape(1, 1, 4, 5)
    weight = torch.zeros(2, 1, 3, 3, device=device)
    weight[0, 0, 0, 0], weight[0, 0, 2, 2] = 1, -2  # upper left minus twice lower right
    weight[1, 0, 1, 1] = 1  # the centre
    bias = torch.tensor([30.0, -10.0], device=device)
    assert ops.conv_relu(image, weight, bias)[0].tolist() == [[[6, 5, 4], [1, 0, 0]], [[0, 0, 0], [1, 2, 3]]]
    linear = ops.conv_relu(image, weight, bias, relu=False)[0]
    assert linear.tolist() == [[[6, 5, 4], [1, 0, -1]], [[-4, -3, -2], [1, 2, 3]]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_float64(device, generator, shape, dtype):
    args = arguments(shape, generator, device, dtype)
    for relu in (True, False):
        y = ops.conv_relu(*args, relu=relu)
        assert y.dtype == dtype
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert relative_l2(y, reference.conv_relu(*double(*args), relu=relu)) <= BOUND[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(device, generator, shape, relu, dtype):
    args = [tensor.requires_grad_() for tensor in arguments(shape, generator, device, dtype)]
    y = ops.conv_relu(*args, relu=relu)
    grad = random_tensor(tuple(y.shape), generator, device, dtype)
    got = torch.autograd.grad(y, args, grad)
    # The gate of y as it is: a value that rounds to the other side of 0 is no error of the gradient.
    gated = grad * (y > 0) if relu else grad
    exact = double(*args)
    wanted = torch.autograd.grad(reference.conv_relu(*exact, relu=False), exact, gated.double().cpu())
    assert [tensor.dtype for tensor in got] == [dtype] * 3
    assert relative_l2(got[0], wanted[0]) <= BOUND[dtype]
    assert relative_l2(got[1], wanted[1]) <= WEIGHT_BOUND[dtype]
    assert relative_l2(got[2], wanted[2]) <= WEIGHT_BOUND[dtype]


def test_float16_on_cuda(cuda, generator):
    """Without tensor cores; test_conv_relu_algorithms.py has those."""
    for shape in [(1, 3, 5, 9, 11), (2, 20, 12, 6, 30)]:
        args = [tensor.requires_grad_() for tensor in arguments(shape, generator, cuda, torch.float16)]
        exact = double(*args)
        y, wanted = ops.conv_relu(*args, relu=False), reference.conv_relu(*exact, relu=False)
        got = [y, *torch.autograd.grad(y, args, torch.ones_like(y))]
        for a, b in zip(got, [wanted, *torch.autograd.grad(wanted, exact, torch.ones_like(wanted))], strict=True):
            assert a.dtype == torch.float16
            assert relative_l2(a, b) <= 1e-3


def test_many_pixels_and_channels(generator):
    """More than one chunk of rows, and more than one group of outputs."""
    for shape in [(2, 8, 8, 120, 90), (1, 144, 160, 12, 11)]:
        args = [tensor.requires_grad_() for tensor in arguments(shape, generator, torch.device("cpu"))]
        exact = double(*args)
        y, wanted = ops.conv_relu(*args, relu=False), reference.conv_relu(*exact, relu=False)
        assert relative_l2(y, wanted) <= BOUND[torch.float32]
        grad = torch.randn(y.shape, generator=generator)
        got = torch.autograd.grad(y, args, grad)
        for a, b in zip(got, torch.autograd.grad(wanted, exact, grad.double()), strict=True):
            assert relative_l2(a, b) <= WEIGHT_BOUND[torch.float32]


def test_large_result_of_few_channels(device, generator):
    """A result that is stored past the caches equals the parts of it that are not."""
    x, weight, bias = arguments((1, 2, 64, 385, 370), generator, device)
    y = ops.conv_relu(x, weight, bias)
    assert torch.equal(y[:, :, :200], ops.conv_relu(x[:, :, :202], weight, bias))
    assert torch.equal(y[:, :, 200:], ops.conv_relu(x[:, :, 200:], weight, bias))


@pytest.mark.parametrize("shape", [(2, 1, 40, 70, 131), (1, 1, 4, 90, 66), (1, 2, 64, 40, 70), (1, 3, 24, 51, 67)])
def test_weight_gradient_of_few_channels(device, generator, shape):
    """Several chunks of rows and strips of 64 pixels, one and more blocks of outputs."""
    args = [tensor.requires_grad_() for tensor in arguments(shape, generator, device)]
    exact = double(*args)
    for relu in (True, False):
        y = ops.conv_relu(*args, relu=relu)
        grad = torch.randn(y.shape, generator=generator).to(device)
        got = torch.autograd.grad(y, args[1:], grad)
        gated = grad * (y > 0) if relu else grad
        wanted = torch.autograd.grad(reference.conv_relu(*exact, relu=False), exact[1:], gated.double().cpu())
        for a, b in zip(got, wanted, strict=True):
            assert relative_l2(a, b) <= 2e-6


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)])
def test_gradient_of_one_argument(device, generator, needs):
    args = arguments((1, 5, 6, 7, 8), generator, device)
    leaves = [a.clone().requires_grad_(need) for a, need in zip(args, needs, strict=True)]
    ops.conv_relu(*leaves).sum().backward()
    assert tuple(leaf.grad is not None for leaf in leaves) == needs
    exact = double(*args)
    reference.conv_relu(*exact).sum().backward()
    for leaf, wanted in zip(leaves, exact, strict=True):
        if leaf.grad is not None:
            assert relative_l2(leaf.grad, wanted.grad) <= 2e-6


def test_any_strides(device, generator):
    x, weight, bias = arguments((2, 20, 12, 24, 30), generator, device)
    expected = ops.conv_relu(x[:, 2:18, 1:23, 3:29].contiguous(), weight[:, 2:18].contiguous(), bias[::2].repeat(2))
    strided_weight = weight[:, 2:18].transpose(2, 3).contiguous().transpose(2, 3)
    got = ops.conv_relu(x[:, 2:18, 1:23, 3:29], strided_weight, bias[::2].repeat(2))
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    y = ops.conv_relu(*leaves)
    grad = random_tensor((2, 12, 22, 56), generator, device)[..., ::2].contiguous()
    got = torch.autograd.grad(y, leaves, grad, retain_graph=True)
    wanted = torch.autograd.grad(y, leaves, grad.contiguous(memory_format=torch.channels_last))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("channels", [(1, 8), (1, 64), (3, 24), (6, 5), (16, 16), (24, 40)])
def test_nan_stays_in_its_window(device, generator, channels):
    x, weight, bias = arguments((2, *channels, 12, 40), generator, device)
    x[0, 0, 5, 20] = float("nan")
    y = ops.conv_relu(x, weight, bias, algorithm="direct")
    expected = torch.zeros_like(y, dtype=torch.bool)
    expected[0, :, 3:6, 18:21] = True
    assert torch.equal(y.isnan(), expected)


def test_closed_gate_passes_nothing(device, generator):
    x, weight, bias = (t.requires_grad_() for t in arguments((1, 6, 8, 9, 9), generator, device))
    y = ops.conv_relu(x, weight, bias - 100)
    grads = torch.autograd.grad(y, (x, weight, bias), torch.full_like(y, float("inf")))
    assert all(torch.equal(grad, torch.zeros_like(grad)) for grad in grads)


@pytest.mark.parametrize("shape", [(2, 8, 8, 70, 90), (1, 40, 70, 30, 31), (2, 1, 64, 30, 51)])
def test_same_bits_for_any_number_of_threads(generator, shape):
    args = [tensor.requires_grad_() for tensor in arguments(shape, generator, torch.device("cpu"))]
    results = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        y = ops.conv_relu(*args)
        results.append([y, *torch.autograd.grad(y.square().sum(), args)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


def test_no_images(device):
    args = [torch.zeros(0, 4, 8, 8), torch.ones(6, 4, 3, 3), torch.ones(6)]
    leaves = [tensor.to(device).requires_grad_() for tensor in args]
    y = ops.conv_relu(*leaves)
    assert y.shape == (0, 6, 6, 6)
    grads = torch.autograd.grad(y.sum(), leaves)
    assert [grad.shape for grad in grads] == [leaf.shape for leaf in leaves]
    assert not grads[1].any()
    assert not grads[2].any()


def test_opcheck(device, generator):
    x, weight, bias = arguments((2, 5, 6, 7, 8), generator, device)
    y = ops.conv_relu(x, weight, bias)
    torch.library.opcheck(torch.ops.unet_fast.conv_relu.default, (x, weight, bias, True))
    backward = torch.ops.unet_fast.conv_relu_backward.default
    torch.library.opcheck(backward, (torch.ones_like(y), y, x, weight, [True, True, True]))
    torch.library.opcheck(backward, (torch.ones_like(y), None, x, weight, [False, True, False]))


def test_compiles_without_graph_break(generator):
    args = arguments((1, 5, 6, 7, 8), generator, torch.device("cpu"))
    results = []
    for function in (ops.conv_relu, torch.compile(ops.conv_relu, fullgraph=True, backend="aot_eager")):
        leaves = [tensor.clone().requires_grad_() for tensor in args]
        y = function(*leaves)
        results.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(4, 5, 5)}, ValueError, r"x: wanted shape \[N, C, H, W\] with H, W >= 3, got \[4, 5, 5\]"),
        ({"x": torch.zeros(1, 4, 2, 5)}, ValueError, r"x: wanted shape .* got \[1, 4, 2, 5\]"),
        ({"x": torch.zeros(1, 4, 5, 5).half()}, TypeError, "x: wanted dtype bfloat16 or float32, got float16"),
        ({"x": torch.zeros(1, 0, 5, 5)}, ValueError, "x: wanted at least one channel"),
        ({"weight": torch.zeros(6, 3, 3, 3)}, ValueError, r"weight: wanted shape \[O, 4, 3, 3\], got \[6, 3, 3, 3\]"),
        ({"weight": torch.zeros(6, 4, 3, 3).bfloat16()}, TypeError, "weight: wanted dtype float32, got bfloat16"),
        ({"bias": torch.zeros(5)}, ValueError, r"bias: wanted shape \[6\], got \[5\]"),
        ({"bias": torch.zeros(6).double()}, TypeError, "bias: wanted dtype float32, got float64"),
    ],
)
def test_errors(change, error, message):
    arguments = {"x": torch.zeros(1, 4, 5, 5), "weight": torch.zeros(6, 4, 3, 3), "bias": torch.zeros(6)} | change
    with pytest.raises(error, match="conv_relu: " + message):
        ops.conv_relu(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grad": torch.zeros(1, 6, 3, 3).half()}, TypeError, "grad: wanted dtype bfloat16 or float32, got float16"),
        ({"y": torch.zeros(1, 6, 3, 4)}, ValueError, r"y: wanted shape \[1, 6, 3, 3\], got \[1, 6, 3, 4\]"),
        ({"x": torch.zeros(1, 4, 6, 5)}, ValueError, r"x: wanted shape \[1, 4, 5, 5\], got \[1, 4, 6, 5\]"),
        ({"weight": torch.zeros(6, 4, 1, 1)}, ValueError, r"weight: wanted shape \[6, 4, 3, 3\], got \[6, 4, 1, 1\]"),
    ],
)
def test_errors_of_backward(change, error, message):
    arguments = {
        "grad": torch.zeros(1, 6, 3, 3),
        "y": torch.zeros(1, 6, 3, 3),
        "x": torch.zeros(1, 4, 5, 5),
        "weight": torch.zeros(6, 4, 3, 3),
    } | change
    for needs in ([True, False, False], [False, True, True]):
        with pytest.raises(error, match="conv_relu_backward: " + message):
            torch.ops.unet_fast.conv_relu_backward(**arguments, needs=needs)
