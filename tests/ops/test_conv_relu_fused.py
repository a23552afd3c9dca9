"""conv_relu with a second source, with its pool and crop, and with a packed weight: what is fused into its one pass."""

import pytest
import torch

from tests.norms import random_tensor, relative_l2
from unet_fast import ops, reference

BOUND = {torch.float32: 3e-6, torch.bfloat16: 1e-2}
WEIGHT_BOUND = {torch.float32: 1.2e-5, torch.bfloat16: 1e-2}

# (N, C, S, O, H, W): C fills panels of 16 or does not, S and O fill vectors or do not, wide and deep schedules.
SKIPS = [
    (1, 16, 16, 16, 8, 12),
    (2, 16, 5, 17, 9, 14),
    (1, 32, 48, 40, 11, 7),
    (2, 20, 12, 24, 10, 10),
    (1, 4, 4, 8, 6, 9),
    (1, 256, 256, 256, 14, 10),
]
# (N, C, O, H, W, crop): tiles of 4 x 4 pixels that the image's edge or the crop cuts.
POOLS = [
    (1, 16, 16, 10, 14, 0),
    (2, 16, 33, 12, 16, 1),
    (1, 24, 32, 26, 22, 4),
    (2, 40, 70, 12, 24, 3),
    (1, 6, 8, 12, 10, 2),
    (1, 256, 256, 18, 14, 4),
]


def double(*tensors):
    return [tensor.detach().double().cpu().requires_grad_() for tensor in tensors]


def window(n, channels, height, width, generator, device, dtype):
    """A window of a larger channels_last tensor."""
    whole = random_tensor((n, channels, height + 5, width + 3), generator, device, dtype)
    return whole.contiguous(memory_format=torch.channels_last)[..., 2 : 2 + height, 1 : 1 + width]


def skip_layer(shape, generator, device, dtype=torch.float32):
    n, c, s, o, h, w = shape
    x = random_tensor((n, c, h, w), generator, device, dtype).relu()
    weight = random_tensor((o, c + s, 3, 3), generator, device, dtype) * (2 / (9 * (c + s))) ** 0.5
    return x, window(n, s, h, w, generator, device, dtype), weight, random_tensor((o,), generator, device, dtype)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", SKIPS)
def test_skip_equals_concatenation(device, generator, shape, dtype):
    layer = [tensor.requires_grad_() for tensor in skip_layer(shape, generator, device, dtype)]
    x, skip, weight, bias = layer
    y = ops.conv_relu(x, weight, bias, skip=skip)
    exact_x, exact_skip, exact_weight, exact_bias = exact = double(*layer)
    linear = reference.conv_relu(exact_x, exact_weight, exact_bias, skip=exact_skip, relu=False)
    assert relative_l2(y, linear.relu()) <= BOUND[dtype]
    grad = random_tensor(tuple(y.shape), generator, device, dtype)
    got = torch.autograd.grad(y, layer, grad)
    wanted = torch.autograd.grad(linear, exact, (grad * (y > 0)).double().cpu())
    for a, b, bound in zip(got, wanted, [BOUND[dtype]] * 2 + [WEIGHT_BOUND[dtype]] * 2, strict=True):
        assert a.shape == b.shape
        assert relative_l2(a, b) <= bound


@pytest.mark.parametrize("needed", range(4))
@pytest.mark.parametrize("shape", [SKIPS[0], SKIPS[4]])
def test_skip_gradient_of_one_argument(device, generator, shape, needed):
    layer = skip_layer(shape, generator, device)
    x, skip, weight, bias = (t.detach().requires_grad_(i == needed) for i, t in enumerate(layer))
    ops.conv_relu(x, weight, bias, skip=skip).sum().backward()
    leaves = (x, skip, weight, bias)
    assert [leaf.grad is not None for leaf in leaves] == [i == needed for i in range(4)]
    everything = [t.detach().requires_grad_() for t in layer]
    ops.conv_relu(everything[0], everything[2], everything[3], skip=everything[1]).sum().backward()
    torch.testing.assert_close(leaves[needed].grad, everything[needed].grad, rtol=0, atol=0)


def pool_layer(shape, generator, device, dtype=torch.float32):
    n, c, o, h, w, _ = shape
    x = random_tensor((n, c, h, w), generator, device, dtype).relu()
    weight = random_tensor((o, c, 3, 3), generator, device, dtype) * (2 / (9 * c)) ** 0.5
    return x, weight, random_tensor((o,), generator, device, dtype)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", POOLS)
def test_pool_is_that_of_conv_relu(device, generator, shape, dtype):
    """Bit for bit: the same sums, their maxima, and a window of them."""
    layer, crop = pool_layer(shape, generator, device, dtype), shape[-1]
    y = ops.conv_relu(*layer)
    skip, pooled = ops.conv_relu_pool(*layer, crop)
    assert torch.equal(pooled, ops.max_pool(y))
    assert torch.equal(skip, y[..., crop : y.shape[2] - crop, crop : y.shape[3] - crop])
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    with_gradient, pooled_too = ops.conv_relu_pool(*(t.requires_grad_() for t in layer), crop)
    assert torch.equal(with_gradient, skip)
    assert torch.equal(pooled_too, pooled)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", POOLS)
def test_pool_gradients(device, generator, shape, dtype):
    layer, crop = [t.requires_grad_() for t in pool_layer(shape, generator, device, dtype)], shape[-1]
    skip, pooled = ops.conv_relu_pool(*layer, crop)
    grads = [random_tensor(tuple(t.shape), generator, device, dtype) for t in (skip, pooled)]
    got = torch.autograd.grad((skip, pooled), layer, grads)
    # The gate and the maxima as they are: what rounds to the other side is no error of the gradient.
    y = ops.conv_relu(*(t.detach() for t in layer))
    gate = y.double().cpu().requires_grad_()
    inner = gate[..., crop : y.shape[2] - crop, crop : y.shape[3] - crop]
    exact_grads = [g.double().cpu() for g in grads]
    (at_y,) = torch.autograd.grad((inner, torch.nn.functional.max_pool2d(gate, 2)), gate, exact_grads)
    exact = double(*layer)
    linear = reference.conv_relu(*exact, relu=False)
    wanted = torch.autograd.grad(linear, exact, at_y * (gate > 0))
    for a, b, bound in zip(got, wanted, (BOUND[dtype], WEIGHT_BOUND[dtype], WEIGHT_BOUND[dtype]), strict=True):
        assert relative_l2(a, b) <= bound


def test_pool_gradient_of_one_result(device, generator):
    """A result that nobody uses brings a gradient of zeros."""
    for used in (0, 1):
        layer = [t.requires_grad_() for t in pool_layer(POOLS[2], generator, device)]
        results = ops.conv_relu_pool(*layer, 4)
        both = [torch.ones_like(r) if i == used else torch.zeros_like(r) for i, r in enumerate(results)]
        wanted = torch.autograd.grad(results, layer, both, retain_graph=True)
        for a, b in zip(torch.autograd.grad(results[used].sum(), layer), wanted, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("channels", [(16, 16), (24, 40), (256, 288)])
def test_packed_weight_gives_the_same_bits(device, generator, channels):
    if device.type != "cpu":
        pytest.skip("weights are packed for the CPU")
    c, o = channels
    x, weight, bias = pool_layer((2, c, o, 14, 18, 0), generator, device)
    packed = ops.pack_conv_relu(weight)
    assert torch.equal(ops.conv_relu(x, weight, bias, packed=packed), ops.conv_relu(x, weight, bias))
    for a, b in zip(
        ops.conv_relu_pool(x, weight, bias, 2, packed=packed), ops.conv_relu_pool(x, weight, bias, 2), strict=True
    ):
        assert torch.equal(a, b)


def test_a_packed_weight_fits_an_image_of_any_size(generator):
    x, weight, bias = pool_layer((1, 16, 16, 4, 4, 0), generator, torch.device("cpu"))  # direct: a tile mostly cut off
    packed = ops.pack_conv_relu(weight)
    assert torch.equal(ops.conv_relu(x, weight, bias, packed=packed), ops.conv_relu(x, weight, bias))


def test_thin_layers_need_no_packing():
    assert ops.pack_conv_relu(torch.zeros(8, 16, 3, 3)) is None


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits_for_any_number_of_threads(generator, threads):
    cpu = torch.device("cpu")
    x, skip, weight, bias = (t.requires_grad_() for t in skip_layer((2, 32, 32, 48, 30, 34), generator, cpu))

    def results():
        y = ops.conv_relu(x, weight, bias, skip=skip)
        return [y, *torch.autograd.grad(y.square().sum(), (x, skip, weight, bias))]

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = results()
    torch.set_num_threads(threads)
    got = results()
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_opcheck(device, generator):
    x, skip, weight, bias = skip_layer(SKIPS[0], generator, device)
    y = ops.conv_relu(x, weight, bias, skip=skip)
    torch.library.opcheck(torch.ops.unet_fast.conv_relu.default, (x, weight, bias, True, "auto", skip))
    backward = torch.ops.unet_fast.conv_relu_backward.default
    torch.library.opcheck(backward, (torch.ones_like(y), y, x, weight, [True, True, True], "auto", skip))
    for shape in (POOLS[1], POOLS[4]):
        torch.library.opcheck(
            torch.ops.unet_fast.conv_relu_pool.default, (*pool_layer(shape, generator, device), shape[-1])
        )


def test_compiles_without_graph_break(generator):
    def both(x, skip, weight, bias, second, crop):
        y = ops.conv_relu(x, weight, bias, skip=skip)
        return ops.conv_relu_pool(y, second, bias, crop)

    cpu = torch.device("cpu")
    layer = [*skip_layer((1, 16, 16, 24, 14, 18), generator, cpu), torch.randn(24, 24, 3, 3, generator=generator)]
    results = []
    for function in (both, torch.compile(both, fullgraph=True, backend="aot_eager")):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in layer]
        skip, pooled = function(*leaves, 1)
        results.append([skip, pooled, *torch.autograd.grad(skip.sum() + pooled.square().sum(), leaves)])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_errors():
    x, weight, bias = torch.zeros(1, 16, 6, 6), torch.zeros(16, 32, 3, 3), torch.zeros(16)
    with pytest.raises(ValueError, match=r"conv_relu: skip: wanted shape \[1, 16, 6, 6\], got \[1, 16, 6, 8\]"):
        ops.conv_relu(x, weight, bias, skip=torch.zeros(1, 16, 6, 8))
    with pytest.raises(ValueError, match=r"conv_relu: weight: wanted shape \[O, 24, 3, 3\]"):
        ops.conv_relu(x, weight, bias, skip=torch.zeros(1, 8, 6, 6))
    with pytest.raises(TypeError, match="conv_relu: skip: wanted dtype float32, got bfloat16"):
        ops.conv_relu(x, weight, bias, skip=x.bfloat16())
    with pytest.raises(ValueError, match=r"conv_relu: packed: wanted shape \[\d+\], got \[5\]"):
        ops.conv_relu(x, weight[:, :16], bias, packed=torch.zeros(5))
    for shape in ((1, 16, 7, 8), (1, 16, 8, 7)):
        with pytest.raises(ValueError, match="conv_relu_pool: x: wanted even height and width"):
            ops.conv_relu_pool(torch.zeros(shape), weight[:, :16], bias)
    with pytest.raises(ValueError, match="conv_relu_pool: crop: wanted 0 to 1, got 2"):
        ops.conv_relu_pool(x, weight[:, :16], bias, crop=2)
    with pytest.raises(ValueError, match="conv_relu_pack: weight: wanted shape"):
        ops.pack_conv_relu(torch.zeros(16, 3, 3))


# (N, C, O of the first, O, H, W, crop): rows of tiles that a task takes whole or in part, C of each kind.
FIRSTS = [
    (1, 1, 16, 16, 12, 14, 0),
    (2, 3, 20, 33, 18, 100, 1),
    (1, 4, 64, 64, 44, 32, 2),
    (1, 2, 6, 8, 12, 10, 0),
    (1, 5, 16, 16, 12, 10, 1),
]


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("shape", FIRSTS)
def test_first_layer_on_the_way(device, generator, shape, dtype):
    n, c, between, o, h, w, crop = shape
    image = random_tensor((n, c, h, w), generator, device, dtype)
    first = (random_tensor((between, c, 3, 3), generator, device, dtype) * (2 / (9 * c)) ** 0.5,
             random_tensor((between,), generator, device, dtype))  # fmt: skip
    _, weight, bias = pool_layer((n, between, o, 3, 3, 0), generator, device, dtype)
    skip, pooled = ops.conv_relu_pool(image, weight, bias, crop, first=first)
    expected, expected_pooled = reference.conv_relu_pool(*double(image, weight, bias), crop, first=double(*first))
    assert relative_l2(skip, expected) <= 2 * BOUND[dtype]
    assert relative_l2(pooled, expected_pooled) <= 2 * BOUND[dtype]
    packed = ops.pack_conv_relu(weight) if dtype == torch.float32 and device.type == "cpu" else None
    assert torch.equal(ops.conv_relu_pool(image, weight, bias, crop, packed=packed, first=first)[0], skip)
    with_gradient, _ = ops.conv_relu_pool(image, weight.requires_grad_(), bias, crop, first=first)
    assert relative_l2(with_gradient, skip) <= 2 * BOUND[dtype]
    with_gradient.sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ((torch.zeros(16, 2, 3, 3), torch.zeros(16)), r"first weight: wanted shape \[O, 1, 3, 3\]"),
        ((torch.zeros(8, 1, 3, 3), torch.zeros(8)), r"weight: wanted shape \[O, 8, 3, 3\]"),
        ((torch.zeros(16, 1, 3, 3), torch.zeros(8)), r"bias: wanted shape \[16\]"),
    ],
)
def test_first_layer_errors(first, message):
    with pytest.raises(ValueError, match=message):
        ops.conv_relu_pool(torch.zeros(1, 1, 12, 12), torch.zeros(16, 16, 3, 3), torch.zeros(16), first=first)
