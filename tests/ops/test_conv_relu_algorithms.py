"""conv_relu by each of its algorithms: how exact it is, and that it does what it is told."""

import pytest
import torch

from tests.norms import random_tensor, relative_l2
from unet_fast import ops, reference

# Relative L2 error of (result, gradient of x, of weight, of bias) against float64.
BOUNDS = {"direct": (1e-6, 1e-6, 2e-6, 2e-6), "winograd": (3e-6, 3e-6, 1.2e-5, 1.2e-5)}

# (N, C, O, H, W): tiles of 4 x 4 pixels that are cut or not, several images in a block of 28 tiles, channels that fill
# a vector and a panel of 16 or do not, one and several blocks of outputs.
SHAPES = [
    (1, 1, 1, 6, 6),
    (2, 5, 3, 10, 7),
    (3, 16, 16, 8, 12),
    (1, 17, 33, 9, 21),
    (5, 8, 40, 7, 6),
    (2, 33, 66, 11, 3),
    (1, 64, 64, 30, 34),
]


@pytest.fixture
def cpu(device):
    if device.type != "cpu":
        pytest.skip("Winograd's algorithm is for the CPU")
    return device


def layer(shape, generator, device):
    """x like the result of a ReLU, the weight as a network begins with it, the bias, and a gradient of the result."""
    n, c, o, h, w = shape
    x = random_tensor((n, c, h, w), generator, device).relu()
    weight = random_tensor((o, c, 3, 3), generator, device).contiguous() * (2 / (9 * c)) ** 0.5
    return x, weight, random_tensor((o,), generator, device), random_tensor((n, o, h - 2, w - 2), generator, device)


def result_and_gradients(layer, algorithm, relu=True):
    *args, grad = layer
    leaves = [tensor.detach().requires_grad_() for tensor in args]
    y = ops.conv_relu(*leaves, relu=relu, algorithm=algorithm)
    return [y, *torch.autograd.grad(y, leaves, grad)]


def errors(layer, algorithm, relu=True):
    got = result_and_gradients(layer, algorithm, relu)
    x, weight, bias, grad = (tensor.double().cpu() for tensor in layer)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    linear = reference.conv_relu(*leaves, relu=False)
    # The gate of the result as it is: a value that rounds to the other side of 0 is no error of the gradient.
    gated = grad * (got[0].cpu() > 0) if relu else grad
    wanted = [linear.relu() if relu else linear, *torch.autograd.grad(linear, leaves, gated, retain_graph=True)]
    return [relative_l2(a, b) for a, b in zip(got, wanted, strict=True)]


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("algorithm", BOUNDS)
def test_error_against_float64(cpu, generator, algorithm, shape, relu):
    for error, bound in zip(errors(layer(shape, generator, cpu), algorithm, relu), BOUNDS[algorithm], strict=True):
        assert error <= bound


@pytest.mark.parametrize("shape", [(1, 64, 64, 70, 70), (1, 256, 256, 26, 22), (1, 1024, 1024, 8, 9)])
def test_error_of_wide_layers(generator, shape):
    """Both schedules of Winograd's algorithm at the widths of the network."""
    for error, bound in zip(
        errors(layer(shape, generator, torch.device("cpu")), "auto"), BOUNDS["winograd"], strict=True
    ):
        assert error <= bound


def test_error_of_many_tiles(generator):
    """More tiles than one pass takes, so that sums of several passes are added."""
    for shape in [(2, 16, 24, 90, 130), (4, 544, 128, 30, 30)]:
        for error, bound in zip(
            errors(layer(shape, generator, torch.device("cpu")), "winograd"), BOUNDS["winograd"], strict=True
        ):
            assert error <= bound


def test_algorithms_differ(generator):
    """By their rounding: each is really run. The default is the direct one below 16 channels."""
    for channels, automatic in ((15, "direct"), (16, "winograd")):
        args = layer((1, channels, 16, 10, 10), generator, torch.device("cpu"))
        results = {name: result_and_gradients(args, name) for name in ("auto", "direct", "winograd")}
        for auto, direct, winograd in zip(*results.values(), strict=True):
            assert torch.equal(auto, direct if automatic == "direct" else winograd)
        assert not any(torch.equal(a, b) for a, b in zip(results["direct"][:3], results["winograd"][:3], strict=True))


@pytest.mark.parametrize("shape", [(1, 20, 40, 40, 50), (2, 16, 16, 70, 66), (1, 256, 256, 12, 18)])
def test_same_bits_for_any_number_of_threads(generator, shape):
    args = layer(shape, generator, torch.device("cpu"))
    results = []
    for threads in (1, 2, 3, 2):
        torch.set_num_threads(threads)
        results.append(result_and_gradients(args, "winograd"))
    torch.set_num_threads(2)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b)


def test_same_bits_whatever_the_neighbours(cpu, generator):
    """A tile's result does not depend on the tiles that are computed with it."""
    x, weight, bias, _ = layer((3, 24, 32, 22, 30), generator, cpu)
    together = ops.conv_relu(x, weight, bias, algorithm="winograd")
    alone = ops.conv_relu(x[1:2, :, 8:14, 4:10], weight, bias, algorithm="winograd")
    assert torch.equal(together[1:2, :, 8:12, 4:8], alone)


def test_any_strides_of_the_weight(cpu, generator):
    x, weight, bias, grad = layer((1, 24, 40, 11, 12), generator, cpu)
    expected = result_and_gradients((x, weight, bias, grad), "winograd")
    weights = [
        weight.contiguous(memory_format=torch.channels_last),
        weight.transpose(0, 1).contiguous().transpose(0, 1),
        weight.transpose(2, 3).contiguous().transpose(2, 3),
    ]
    for strided in weights:
        for a, b in zip(result_and_gradients((x, strided, bias, grad), "winograd"), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_nan_stays_in_its_tiles(cpu, generator):
    x, weight, bias, _ = layer((2, 16, 20, 18, 26), generator, cpu)
    x[0, 3, 9, 13] = float("nan")
    spoiled = ops.conv_relu(x, weight, bias, algorithm="winograd").isnan()
    assert spoiled[0, :, 7:10, 11:14].all()
    spoiled[0, :, 4:12, 8:16] = False  # the four tiles that read it
    assert not spoiled.any()


# Two roundings to 16 bits at most; factors rounded to TF32.
TENSOR_CORE_BOUND = {torch.bfloat16: 4e-3, torch.float16: 5e-4, torch.float32: 1e-3}
# (N, C, S, O, H, W): around chunks of 64 channels and tiles of 8 x 32 pixels.
TENSOR_CORE_SHAPES = [
    (1, 8, 0, 8, 5, 7),
    (2, 64, 0, 64, 20, 38),
    (1, 72, 0, 136, 18, 66),
    (1, 64, 64, 64, 36, 40),
    (2, 128, 128, 256, 30, 22),
    (1, 512, 0, 64, 10, 12),  # parts of sums
]


@pytest.mark.parametrize("shape", TENSOR_CORE_SHAPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("algorithm", ["mma", "wgmma", "auto"])
def test_tensor_cores_against_float64(cuda, generator, algorithm, dtype, shape):
    """Forced and chosen: result, gradients and the same bits twice; a skip is a window, and not concatenated."""
    if algorithm == "wgmma" and (torch.cuda.get_device_capability() != (9, 0) or dtype == torch.float32):
        pytest.skip("wgmma is for compute capability 9.0 and 16 bits")
    n, c, s, o, h, w = shape
    x, _, bias, grad = (t.to(dtype) for t in layer((n, c, o, h, w), generator, cuda))
    weight = (random_tensor((o, c + s, 3, 3), generator, cuda) * (2 / (9 * (c + s))) ** 0.5).to(dtype)
    skip = random_tensor((n, h + 4, w + 4, s), generator, cuda).to(dtype).movedim(3, 1)[..., 2:-2, 2:-2]
    args = [x, weight, bias] + ([skip] if s else [])
    leaves = [tensor.detach().requires_grad_() for tensor in args]

    def run():
        y = ops.conv_relu(*leaves[:3], skip=leaves[3] if s else None, algorithm=algorithm)
        return [y, *torch.autograd.grad(y, leaves, grad)]

    got = run()
    exact = [tensor.detach().double().cpu().requires_grad_() for tensor in args]
    linear = reference.conv_relu(*exact[:3], skip=exact[3] if s else None, relu=False)
    gated = grad.double().cpu() * (got[0].cpu() > 0)
    for a, b in zip(got, [linear.relu(), *torch.autograd.grad(linear, exact, gated)], strict=True):
        assert relative_l2(a, b) <= TENSOR_CORE_BOUND[dtype]
    assert all(torch.equal(a, b) for a, b in zip(got, run(), strict=True))


@pytest.mark.parametrize("algorithm", ["mma", "wgmma"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [64, 512])
def test_tensor_cores_pool_and_crop(cuda, generator, algorithm, dtype, channels):
    if algorithm == "wgmma" and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("wgmma is for compute capability 9.0")
    x, weight, bias, _ = (t.to(dtype) for t in layer((2, channels, 72, 22, 38), generator, cuda))
    packed = ops.pack_conv_relu(weight)
    skip, pooled = ops.conv_relu_pool(x, weight, bias, 3, algorithm=algorithm, packed=packed)
    y = ops.conv_relu(x, weight, bias, algorithm=algorithm)
    assert torch.equal(skip, y[..., 3:-3, 3:-3])
    assert torch.equal(pooled, ops.max_pool(y))


@pytest.mark.parametrize("channels", [8, 12, 64, 72])
def test_which_is_chosen(cuda, generator, channels):
    """Tensor cores for multiples of 8; float32 by TF32 only where torch allows it."""
    capability, native = torch.cuda.get_device_capability(), ops.build_info().cuda_architectures
    x, weight, bias, _ = layer((1, channels, 8, 6, 6), generator, cuda)
    best = "wgmma" if capability == (9, 0) and "90a" in native else "mma"
    for dtype in (torch.bfloat16, torch.float16):
        chosen = ops.conv_relu_algorithm(x.to(dtype), weight.to(dtype))
        assert chosen == (best if channels % 8 == 0 else "direct")
    assert ops.conv_relu_algorithm(x, weight) == "direct"
    torch.set_float32_matmul_precision("high")
    try:
        assert ops.conv_relu_algorithm(x, weight) == ("mma" if channels % 8 == 0 else "direct")
        rounded = ops.conv_relu(x, weight, bias)
    finally:
        torch.set_float32_matmul_precision("highest")
    if channels % 8 == 0:
        assert torch.equal(rounded, ops.conv_relu(x, weight, bias, algorithm="mma"))


def test_impossible_on_cuda(cuda, generator):
    x, weight, bias, _ = (t.bfloat16() for t in layer((1, 12, 8, 6, 6), generator, cuda))
    with pytest.raises(ValueError, match='"mma", which is for numbers of channels that are multiples of 8'):
        ops.conv_relu(x, weight, bias, algorithm="mma")


def test_opcheck(generator):
    x, weight, bias, grad = layer((1, 5, 6, 7, 8), generator, torch.device("cpu"))
    forward, backward = torch.ops.unet_fast.conv_relu.default, torch.ops.unet_fast.conv_relu_backward.default
    torch.library.opcheck(forward, (x, weight, bias, True, "winograd"))
    torch.library.opcheck(backward, (grad, None, x, weight, [True, True, True], "winograd"))


def test_errors(generator):
    x, weight, bias, grad = layer((1, 4, 6, 5, 5), generator, torch.device("cpu"))
    with pytest.raises(ValueError, match='algorithm: wanted "auto", "direct", "winograd", "mma" or "wgmma", got "fft"'):
        ops.conv_relu(x, weight, bias, algorithm="fft")
    half = [tensor.bfloat16() for tensor in (x, weight, bias, grad)]
    wanted = '"winograd" is for float32 on the CPU, got "winograd" for bfloat16 on the CPU'
    with pytest.raises(ValueError, match=f'conv_relu: algorithm: wanted "auto" or "direct", as {wanted}'):
        ops.conv_relu(*half[:3], algorithm="winograd")
    for algorithm in ("mma", "wgmma"):
        for args in (half[:3], (x, weight, bias)):
            kind = "CUDA" if algorithm == "mma" else "bfloat16 and float16 on CUDA"
            with pytest.raises(ValueError, match=f'as "{algorithm}" is for {kind}, got "{algorithm}" for'):
                ops.conv_relu(*args, algorithm=algorithm)
    with pytest.raises(ValueError, match="conv_relu_algorithm: x: wanted a tensor on CUDA, got one on the CPU"):
        ops.conv_relu_algorithm(x, weight)
    for needs in ([True, False, False], [False, True, True]):
        with pytest.raises(ValueError, match=f'conv_relu_backward: algorithm: wanted "auto" or "direct", as {wanted}'):
            torch.ops.unet_fast.conv_relu_backward(half[3], None, half[0], half[1], needs, "winograd")
