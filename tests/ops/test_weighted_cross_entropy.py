"""weighted_cross_entropy: the pixel-wise softmax loss with weights."""

import math

import pytest
import torch
import torch.nn.functional as F

from unet_fast import ops, reference

NORMALIZATIONS = ["weight", "pixels", "sum"]
# Around 64 pixels at a time and chunks of 1024, for each K.
SHAPES = [(1, 1, 1, 1), (2, 2, 1, 9), (1, 3, 7, 1), (1, 2, 7, 9), (1, 2, 8, 8), (1, 2, 5, 13), (2, 3, 31, 33)]
SHAPES += [(1, 2, 32, 32), (3, 2, 25, 41), (1, 5, 64, 65), (1, 16, 9, 30), (2, 17, 9, 30), (1, 255, 5, 20)]


def random_case(shape, generator, scale=4.0, ignored=0.1):
    """Draw logits, classes (int64, a part of them 255) and weights."""
    images, classes, height, width = shape
    logits = scale * torch.randn(shape, generator=generator)
    target = torch.randint(0, classes, (images, height, width), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = 255
    return logits, target, 3 * torch.rand(target.shape, generator=generator)


def oracle(logits, classes, weights, normalization):
    """Compute the loss and its gradient with PyTorch in float64."""
    logits = logits.detach().cpu().double().requires_grad_()
    classes = classes.cpu().long()
    weights = torch.ones(classes.shape) if weights is None else weights.cpu()
    weights = weights.double() * (classes != 255)
    total = (F.cross_entropy(logits, classes, reduction="none", ignore_index=255) * weights).sum()
    loss = total / {"weight": weights.sum(), "pixels": classes.numel(), "sum": 1}[normalization]
    loss.backward()
    return loss.detach(), logits.grad


def check_case(device, logits, classes, weights, normalization, rtol=1e-6, grad_rtol=1e-5, atol=2e-7):
    given = logits.detach().to(device).requires_grad_()
    loss = ops.weighted_cross_entropy(
        given, classes.to(device), None if weights is None else weights.to(device), normalization
    )
    assert loss.dtype == torch.float32
    assert loss.shape == ()
    (3 * loss).backward()
    expected, grad = oracle(logits, classes, weights, normalization)
    # In float32, 1 + x keeps no more of x than this: in the logarithm of the sum and in the softmax minus 1.
    counted = (classes != 255) * (torch.ones(classes.shape) if weights is None else weights)
    divisor = {"weight": counted.sum(), "pixels": classes.numel(), "sum": 1}[normalization]
    rounding = 2**-23 * float(counted.sum() / divisor)
    torch.testing.assert_close(loss.detach().cpu().double(), expected, rtol=rtol, atol=rounding)
    largest = float(3 * counted.max() / divisor)
    torch.testing.assert_close(given.grad.cpu().double(), 3 * grad, rtol=grad_rtol, atol=atol * largest)


def test_by_hand(device):
    logits = torch.tensor([[[[0.0, math.log(3), 5]], [[0, 0, 1]]]], device=device)
    classes = torch.tensor([[[1, 0, 255]]], device=device, dtype=torch.uint8)
    weights = torch.tensor([[[1.0, 3, 100]]], device=device)
    first, second = math.log(2), math.log(4 / 3)
    for normalization, divisor in (("weight", 4), ("pixels", 3), ("sum", 1)):
        loss = ops.weighted_cross_entropy(logits, classes, weights, normalization)
        assert loss.item() == pytest.approx((first + 3 * second) / divisor, rel=1e-6)
    assert ops.weighted_cross_entropy(logits, classes).item() == pytest.approx((first + second) / 2, rel=1e-6)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_float64(device, generator, shape, normalization):
    logits, classes, weights = random_case(shape, generator)
    classes[0, 0, 0] = 0
    check_case(device, logits, classes, weights, normalization)
    check_case(device, logits, classes, None, normalization)
    check_case(device, logits.contiguous(memory_format=torch.channels_last), classes.byte(), weights, normalization)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("class_dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("classes_count", [2, 3])
def test_every_dtype(device, generator, dtype, class_dtype, channels_last, classes_count):
    logits, classes, weights = random_case((2, classes_count, 33, 50), generator)
    logits = logits.to(dtype)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    # Only the gradient is rounded to the dtype: half a unit in the last place.
    epsilon = torch.finfo(dtype).eps / 2 if dtype != torch.float32 else 0
    smallest = 1e-3 if dtype == torch.float16 else 2e-7  # float16 gradients become subnormal
    check_case(device, logits, classes.to(class_dtype), weights, "weight", grad_rtol=1e-5 + epsilon, atol=smallest)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("classes_count", [1, 2, 3, 4, 5, 8, 9, 16, 17, 255])
def test_every_number_of_classes(device, generator, classes_count, channels_last):
    logits, classes, weights = random_case((1, classes_count, 9, 50), generator)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    check_case(device, logits, classes, weights, "weight")


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradient_larger_than_the_caches(device, generator, channels_last):
    """It is written past them; a row of 720 pixels begins on a line of them, and its end is no whole block."""
    logits, classes, weights = random_case((1, 9, 720, 720), generator)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    check_case(device, logits, classes, weights, "weight", atol=4e-7)  # the worst of four million


def test_large_logits(device, generator):
    logits, classes, weights = random_case((1, 3, 20, 30), generator, scale=1e4)
    check_case(device, logits, classes, weights, "weight")
    check_case(device, logits - 1e5, classes, weights, "weight")


@pytest.mark.parametrize(("gap", "wrong"), [(20.0, False), (20.0, True), (80.0, False), (80.0, True), (500.0, True)])
def test_confident_logits(device, gap, wrong):
    logits = torch.zeros(1, 2, 4, 70)
    logits[:, 1] = gap
    check_case(device, logits, torch.full((1, 4, 70), 0 if wrong else 1), None, "weight")


def test_strided(device, generator):
    logits, classes, weights = random_case((4, 6, 50, 90), generator)
    logits, classes, weights = logits[::2, 1::2, 3:, ::2], classes[::2, 3:, ::2] % 3, weights[::2, 3:, ::2]
    check_case(device, logits, classes, weights, "weight")
    given = logits.to(device).permute(0, 1, 3, 2)  # rows and columns exchanged
    check_case(device, given.cpu(), classes.permute(0, 2, 1), weights.permute(0, 2, 1), "weight")
    expanded = torch.randn(1, 3, 1, 45, generator=generator).expand(2, 3, 47, 45)
    loss = ops.weighted_cross_entropy(expanded.to(device), classes.to(device), weights.to(device))
    torch.testing.assert_close(loss.cpu().double(), oracle(expanded, classes, weights, "weight")[0])


def test_gradient_keeps_the_memory_format(device, generator):
    logits, classes, _ = random_case((2, 3, 8, 9), generator)
    logits = logits.to(device, memory_format=torch.channels_last).requires_grad_()
    ops.weighted_cross_entropy(logits, classes.to(device)).backward()
    assert logits.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_nothing_counts(device, normalization):
    logits = torch.full((1, 2, 9, 9), math.nan, device=device, requires_grad=True)
    ignored = torch.full((1, 9, 9), 255, dtype=torch.uint8, device=device)
    loss = ops.weighted_cross_entropy(logits, ignored, None, normalization)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
    weightless = ops.weighted_cross_entropy(
        torch.zeros(1, 2, 9, 9, device=device), ignored * 0, torch.zeros(1, 9, 9, device=device), normalization
    )
    assert weightless.item() == 0


def test_nan_is_not_hidden(device):
    for bad in (math.nan, math.inf, -math.inf):
        logits = torch.zeros(1, 2, 9, 9, device=device)
        logits[0, :, 4, 4] = bad
        assert ops.weighted_cross_entropy(logits, torch.zeros(1, 9, 9, dtype=torch.uint8, device=device)).isnan()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_equals_reference(device, generator, normalization):
    logits, classes, weights = (tensor.to(device) for tensor in random_case((2, 3, 31, 33), generator))
    for given in (weights, None):
        loss = ops.weighted_cross_entropy(logits, classes, given, normalization)
        torch.testing.assert_close(loss, reference.weighted_cross_entropy(logits, classes, given, normalization))
    ignored = torch.full_like(classes, 255)
    assert reference.weighted_cross_entropy(logits, ignored, weights, normalization) == 0


def test_gradcheck_of_the_reference(generator):
    logits, classes, weights = random_case((1, 3, 3, 4), generator)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: reference.weighted_cross_entropy(z, classes, weights.double()), logits)


@pytest.mark.parametrize("channels_last", [False, True])
def test_same_bits_every_time(generator, channels_last):
    logits, classes, weights = random_case((3, 2, 97, 131), generator)
    logits = logits.contiguous(memory_format=torch.channels_last) if channels_last else logits
    results = []
    for threads in (2, 2, 1):
        torch.set_num_threads(threads)
        given = logits.clone().requires_grad_()
        loss = ops.weighted_cross_entropy(given, classes, weights)
        loss.backward()
        results.append((loss.detach(), given.grad))
    torch.set_num_threads(2)
    for loss, grad in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert torch.equal(grad, results[0][1])


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (1, 2, 0, 4), (1, 2, 4, 0)])
def test_empty(device, shape):
    logits = torch.zeros(shape, device=device, requires_grad=True)
    classes = torch.zeros(shape[0], *shape[2:], dtype=torch.uint8, device=device)
    for normalization in NORMALIZATIONS:
        loss = ops.weighted_cross_entropy(logits, classes, None, normalization)
        loss.backward()
        assert loss.item() == 0
        assert logits.grad.shape == shape


def test_no_gradient_no_function(generator):
    logits, classes, _ = random_case((1, 2, 5, 5), generator)
    assert ops.weighted_cross_entropy(logits, classes).grad_fn is None
    with torch.no_grad():
        assert ops.weighted_cross_entropy(logits.requires_grad_(), classes).grad_fn is None


def test_opcheck(device, generator):
    logits, classes, weights = (tensor.to(device) for tensor in random_case((2, 3, 9, 11), generator))
    for given in (weights, None):
        forward = (logits, classes, given, "weight")
        torch.library.opcheck(torch.ops.unet_fast.weighted_cross_entropy.default, forward)
        _, scale = torch.ops.unet_fast.weighted_cross_entropy(*forward)
        backward = (torch.ones((), device=device), scale, logits, classes, given)
        torch.library.opcheck(torch.ops.unet_fast.weighted_cross_entropy_backward.default, backward)


def test_compiles_without_graph_break(generator):
    logits, classes, weights = random_case((2, 3, 9, 11), generator)
    compiled = torch.compile(
        lambda z: ops.weighted_cross_entropy(z * 2, classes, weights) + 1, fullgraph=True, backend="aot_eager"
    )
    results = []
    for function in (compiled, lambda z: ops.weighted_cross_entropy(z * 2, classes, weights) + 1):
        given = logits.clone().requires_grad_()
        function(given).backward()
        results.append(given.grad)
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": torch.zeros(2, 5, 5)}, ValueError, r"logits: wanted shape \[N, K, H, W\], got \[2, 5, 5\]"),
        (
            {"logits": torch.zeros(1, 2, 5, 5).double()},
            TypeError,
            "logits: wanted dtype bfloat16 or float32, got float64",
        ),
        ({"logits": torch.zeros(1, 256, 5, 5)}, ValueError, r"logits: wanted 1 to 255 classes, got \[1, 256, 5, 5\]"),
        ({"classes": torch.zeros(1, 5, 4).byte()}, ValueError, r"classes: wanted shape \[1, 5, 5\], got \[1, 5, 4\]"),
        ({"classes": torch.zeros(1, 5, 5)}, TypeError, "classes: wanted dtype uint8 or int64, got float32"),
        ({"classes": torch.full((1, 5, 5), 2)}, ValueError, "classes: wanted 0 to 1 or 255, got 2"),
        ({"classes": torch.full((1, 5, 5), 254).byte()}, ValueError, "classes: wanted 0 to 1 or 255, got 254"),
        ({"classes": torch.full((1, 5, 5), -1)}, ValueError, "classes: wanted 0 to 1 or 255, got -1"),
        ({"classes": torch.full((1, 5, 5), 2**32)}, ValueError, "classes: wanted 0 to 1 or 255, got 4294967296"),
        ({"weights": torch.zeros(1, 1, 5, 5)}, ValueError, r"weights: wanted shape \[1, 5, 5\], got \[1, 1, 5, 5\]"),
        ({"weights": torch.zeros(1, 5, 5).double()}, TypeError, "weights: wanted dtype float32, got float64"),
        ({"normalization": "mean"}, ValueError, "normalization: wanted weight, pixels or sum, got mean"),
    ],
)
def test_errors(change, error, message):
    arguments = {"logits": torch.zeros(1, 2, 5, 5), "classes": torch.zeros(1, 5, 5, dtype=torch.uint8)} | change
    with pytest.raises(error, match="weighted_cross_entropy: " + message):
        ops.weighted_cross_entropy(**arguments)


def test_one_bad_class_among_many(generator):
    logits, classes, _ = random_case((1, 2, 60, 70), generator)
    classes[0, 59, 69] = 7
    with pytest.raises(ValueError, match="classes: wanted 0 to 1 or 255, got 7"):
        ops.weighted_cross_entropy(logits, classes)


def test_bad_class_on_cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    logits, classes = torch.zeros(1, 2, 5, 5, device="cuda"), torch.full((1, 5, 5), 2, device="cuda")
    assert ops.weighted_cross_entropy(logits, classes).isnan()
