"""The gradient of conv_relu where x is the result of a ReLU: it is masked as it is stored, and not again after that."""

import pytest
import torch

from tests.norms import random_tensor, relative_l2
from unet_fast import ops, reference

BOUND = {torch.float32: 3e-6, torch.bfloat16: 1e-2}
WEIGHT_BOUND = {torch.float32: 1.2e-5, torch.bfloat16: 1e-2}

# (N, C, O, H, W): thin layers, channels that fill vectors and panels or do not, tiles whole and cut, the deep schedule,
# and a gradient of x that is stored past the caches.
SHAPES = [
    (2, 1, 8, 9, 31),
    (1, 5, 7, 8, 11),
    (2, 8, 8, 18, 44),
    (1, 16, 16, 17, 16),
    (2, 33, 40, 11, 13),
    (1, 272, 256, 9, 14),
    (1, 64, 32, 258, 257),
]


def layer(shape, generator, device, dtype=torch.float32):
    """x as a ReLU leaves it, weight, bias and a gradient of the result."""
    n, c, o, h, w = shape
    x = random_tensor((n, c, h, w), generator, device, dtype).relu()
    weight = random_tensor((o, c, 3, 3), generator, device, dtype) * (2 / (9 * c)) ** 0.5
    bias = random_tensor((o,), generator, device, dtype)
    return x, weight, bias, random_tensor((n, o, h - 2, w - 2), generator, device, dtype)


def gradients(function, layer, **options):
    *args, grad = layer
    leaves = [tensor.detach().requires_grad_() for tensor in args]
    return torch.autograd.grad(function(*leaves, **options), leaves, grad)


def test_by_eye(device):
    x = torch.tensor([[0.0, 2, 0], [3, 0, 4], [0, 5, 6]], device=device)[None, None]
    y_grad = torch.tensor([[[[2.0]]]], device=device)
    weight = torch.arange(1.0, 10, device=device).reshape(1, 1, 3, 3)
    grad, *_ = gradients(ops.conv_relu, (x, weight, torch.ones(1, device=device), y_grad), masks_gradient=True)
    assert grad[0, 0].tolist() == [[0, 4, 0], [8, 0, 12], [0, 16, 18]]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", SHAPES)
def test_masks_as_float64(device, generator, shape, dtype):
    args = layer(shape, generator, device, dtype)
    got = gradients(ops.conv_relu, args, relu=False, masks_gradient=True)
    exact = [tensor.double().cpu() for tensor in args]
    wanted = gradients(reference.conv_relu, exact, relu=False)
    assert relative_l2(got[0], wanted[0] * (exact[0] > 0)) <= BOUND[dtype]
    for a, b in zip(got[1:], wanted[1:], strict=True):
        assert relative_l2(a, b) <= WEIGHT_BOUND[dtype]
    for a, b in zip(gradients(reference.conv_relu, exact, relu=False, masks_gradient=True), wanted, strict=True):
        assert torch.equal(a, torch.where(exact[0] > 0, b, 0) if b is wanted[0] else b)


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
@pytest.mark.parametrize("shape", SHAPES)
def test_same_bits_as_a_mask_afterwards(device, generator, shape, algorithm):
    if device.type != "cpu" and algorithm == "winograd":
        pytest.skip("Winograd's algorithm is for the CPU")
    args = layer(shape, generator, device)
    x, weight, bias = args[:3]
    masked = gradients(ops.conv_relu, args, algorithm=algorithm, masks_gradient=True)
    plain = gradients(ops.conv_relu, args, algorithm=algorithm)
    assert torch.equal(masked[0], torch.where(x > 0, plain[0], 0))
    assert torch.equal(masked[1], plain[1])
    assert torch.equal(masked[2], plain[2])
    pooled = (x[..., : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2], weight, bias)
    grads = []
    for masks in (False, True):
        leaves = [tensor.detach().requires_grad_() for tensor in pooled]
        results = ops.conv_relu_pool(*leaves, 1, algorithm=algorithm, masks_gradient=masks)
        grads.append(torch.autograd.grad(sum(result.square().sum() for result in results), leaves))
    assert torch.equal(grads[1][0], torch.where(pooled[0] > 0, grads[0][0], 0))


@pytest.mark.parametrize("channels", [(16, 16, 24), (20, 12, 24), (4, 4, 8)])
def test_a_skip_is_not_masked(device, generator, channels):
    c, s, o = channels
    x = random_tensor((2, c, 9, 14), generator, device).relu()
    skip = random_tensor((2, s, 9, 14), generator, device).relu()
    weight, bias = random_tensor((o, c + s, 3, 3), generator, device), random_tensor((o,), generator, device)
    results = []
    for masks in (False, True):
        leaves = [tensor.detach().requires_grad_() for tensor in (x, skip)]
        y = ops.conv_relu(leaves[0], weight, bias, skip=leaves[1], masks_gradient=masks)
        results.append(torch.autograd.grad(y.square().sum(), leaves))
    assert torch.equal(results[1][0], torch.where(x > 0, results[0][0], 0))
    assert torch.equal(results[1][1], results[0][1])


def block(op, x, skip, weights, biases, masks):
    """The two convolutions of a block, whose inner gradient is masked once by the second, or by the first."""
    y = op.conv_relu(x, weights[0], biases[0], skip=skip, gradient_is_masked=masks)
    y = op.conv_relu(y, weights[1], biases[1], gradient_is_masked=masks, masks_gradient=masks)
    return torch.cat([t.flatten() for t in op.conv_relu_pool(y, weights[2], biases[2], masks_gradient=masks)])


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize(("channels", "threads"), [((4, 4, 8), 1), ((16, 20, 33), 1), ((16, 20, 33), 3)])
def test_a_chain_has_the_same_bits(device, generator, channels, threads, dtype):
    c, s, o = channels
    x, skip = (random_tensor((2, k, 16, 22), generator, device, dtype) for k in (c, s))
    weights = [random_tensor((o, k, 3, 3), generator, device, dtype) / (9 * k) ** 0.5 for k in (c + s, o, o)]
    biases = [random_tensor((o,), generator, device, dtype) for _ in weights]
    before, results = torch.get_num_threads(), []
    for masks, count in ((False, 1), (True, threads)):
        torch.set_num_threads(count)
        leaves = [tensor.detach().requires_grad_() for tensor in (x, skip, *weights, *biases)]
        y = block(ops, leaves[0], leaves[1], leaves[2:5], leaves[5:], masks)
        results.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_chain_in_plain_pytorch(generator):
    """The same gradients with and without the promises, and those of the operators."""
    cpu = torch.device("cpu")
    x, skip = (random_tensor((1, 16, 16, 14), generator, cpu) for _ in range(2))
    weights = [random_tensor((16, k, 3, 3), generator, cpu) / (9 * k) ** 0.5 for k in (32, 16, 16)]
    biases = [random_tensor((16,), generator, cpu) for _ in weights]
    results = []
    for op, masks in ((reference, False), (reference, True), (ops, True)):
        leaves = [tensor.detach().double() if op is reference else tensor.detach() for tensor in (x, skip, *weights)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        y = block(op, leaves[0], leaves[1], leaves[2:], [bias.to(x.dtype) for bias in biases]
                  if op is ops else [bias.double() for bias in biases], masks)  # fmt: skip
        results.append(torch.autograd.grad(y.square().sum(), leaves))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    for a, b in zip(results[2], results[0], strict=True):
        assert relative_l2(a, b) <= 2e-5


def test_first_layer_within(generator):
    """An image is masked only where it is said to be the result of a ReLU."""
    image = torch.randn(1, 1, 12, 14, generator=generator)
    first = torch.randn(16, 1, 3, 3, generator=generator), torch.randn(16, generator=generator)
    second = torch.randn(16, 16, 3, 3, generator=generator), torch.randn(16, generator=generator)
    for x, masks in ((image, False), (image.relu(), True)):
        results = []
        for op in (ops, reference):
            leaf = x.clone().requires_grad_()
            skip, pooled = op.conv_relu_pool(leaf, *second, first=first, masks_gradient=masks)
            results.append(torch.autograd.grad(skip.sum() + pooled.sum(), leaf)[0])
        assert relative_l2(*results) <= 1e-5
        assert bool((results[0][x == 0] == 0).all())


def test_opcheck(device, generator):
    for shape in (SHAPES[1], SHAPES[3]):
        x, weight, bias, grad = layer(shape, generator, device)
        y = ops.conv_relu(x, weight, bias)
        arguments = (grad, y, x, weight, [True, True, True], "auto", None, True)
        torch.library.opcheck(torch.ops.unet_fast.conv_relu_backward.default, arguments)


def test_compiles_without_graph_break(generator):
    cpu = torch.device("cpu")
    x, skip = (random_tensor((1, 16, 12, 14), generator, cpu) for _ in range(2))
    weights = [random_tensor((16, k, 3, 3), generator, cpu) for k in (32, 16, 16)]
    biases = [random_tensor((16,), generator, cpu) for _ in weights]
    results = []
    for function in (block, torch.compile(block, fullgraph=True, backend="aot_eager")):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in (x, skip, *weights)]
        y = function(ops, leaves[0], leaves[1], leaves[2:], biases, True)
        results.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
