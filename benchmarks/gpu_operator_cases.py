"""The operators that memory bounds, each with an input, what it is checked against and what PyTorch has for it.

The ends of the paper's network (first layer, head, unpooling, loss, in bfloat16) and what feeds them (warp, classes,
weight map, tiles of a large image). Tensors are made on the default device.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_layers import ERROR_BOUNDS, Call
from benchmarks.instances import cells
from unet_fast import ops, reference
from unet_fast.augment import AugmentConfig, random_warp

CLASSES, CHANNELS = 2, 64
drawn_cells = functools.lru_cache(cells)  # seconds for a large map
BFLOAT16_ERROR, FLOAT32_ERROR, SAME_BITS = ERROR_BOUNDS[torch.bfloat16], 1e-5, 0.0


class Case(NamedTuple):
    """An operator with its input; `peer` is the same in PyTorch, None where that has no such operator."""

    name: str
    ours: Call
    exact: Call
    peer: Call | None
    bytes: int
    bound: float  # of the relative L2 error


def moved(*tensors: Tensor) -> int:
    """Return the bytes of tensors."""
    return sum(tensor.nbytes for tensor in tensors)


def images(*size: int) -> Tensor:
    """Draw activations."""
    return torch.randn(size, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)


def double(*tensors: Tensor) -> list[Tensor]:
    """Return tensors in float64."""
    return [tensor.double() for tensor in tensors]


def first_layer(batch: int, side: int) -> Iterator[Case]:
    """conv3x3 of one channel with bias and ReLU, and the gradients of its weight and bias."""
    x, weight, bias = images(batch, 1, side, side), images(CHANNELS, 1, 3, 3), torch.randn(CHANNELS).bfloat16()
    y, grad = ops.conv_relu(x, weight, bias), images(batch, CHANNELS, side - 2, side - 2)
    backward = torch.ops.unet_fast.conv_relu_backward

    def plain_gradients(grad: Tensor, y: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        gated = torch.ops.aten.threshold_backward(grad, y, 0)
        zeros, ones = [0, 0], [1, 1]
        return torch.ops.aten.convolution_backward(
            gated, x, weight, [CHANNELS], ones, zeros, ones, False, zeros, 1, [False, True, True]
        )[1:]

    yield Case(
        "first layer",
        lambda: (ops.conv_relu(x, weight, bias),),
        lambda: (F.conv2d(*double(x, weight, bias)).relu(),),
        lambda: (F.conv2d(x, weight, bias).relu(),),
        moved(x, y),
        BFLOAT16_ERROR,
    )
    yield Case(
        "first layer, gradient of the weight",
        lambda: backward(grad, y, x, weight, [False, True, True])[1:3],
        lambda: plain_gradients(*double(grad, y, x, weight)),
        lambda: plain_gradients(grad, y, x, weight),
        moved(grad, y, x),
        BFLOAT16_ERROR,
    )


def head(batch: int, side: int) -> Iterator[Case]:
    """conv1x1 to the classes, the same with their softmax, and all of its gradients."""
    x, weight, bias = (
        images(batch, CHANNELS, side, side),
        images(CLASSES, CHANNELS, 1, 1),
        torch.randn(CLASSES).bfloat16(),
    )
    grad = images(batch, CLASSES, side, side)

    def plain_gradients(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        zeros, ones = [0, 0], [1, 1]
        return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
            grad, x, weight, [CLASSES], ones, zeros, ones, False, zeros, 1, [True, True, True]
        )

    yield Case(
        "head",
        lambda: (ops.head(x, weight, bias),),
        lambda: (F.conv2d(*double(x, weight, bias)),),
        lambda: (F.conv2d(x, weight, bias),),
        moved(x, grad),
        BFLOAT16_ERROR,
    )
    yield Case(
        "head with softmax",
        lambda: (ops.head(x, weight, bias, softmax=True),),
        lambda: (F.conv2d(*double(x, weight, bias)).softmax(1),),
        lambda: (F.conv2d(x, weight, bias).float().softmax(1),),
        moved(x, grad, grad),  # float32, twice the bytes
        FLOAT32_ERROR,
    )
    yield Case(
        "head, all gradients",
        lambda: torch.ops.unet_fast.head_backward(grad, x, weight, [True, True, True]),
        lambda: plain_gradients(*double(grad, x, weight)),
        lambda: plain_gradients(grad, x, weight),
        moved(grad, x, x),
        BFLOAT16_ERROR,
    )


def unpooling(batch: int, side: int) -> Iterator[Case]:
    """The gradient of ReLU, skip and pool in one."""
    crop = side // 6
    x, grad = images(batch, CHANNELS, side, side).relu(), images(batch, CHANNELS, side // 2, side // 2)
    skip = images(batch, CHANNELS, side - 2 * crop, side - 2 * crop)

    def plain(x: Tensor, grad: Tensor, skip: Tensor) -> tuple[Tensor, ...]:
        _, winners = F.max_pool2d(x, 2, return_indices=True)
        ones, zeros = [1, 1], [0, 0]
        back = torch.ops.aten.max_pool2d_with_indices_backward(grad, x, [2, 2], [2, 2], zeros, ones, False, winners)
        both = back + F.pad(skip, [crop] * 4)
        return (torch.ops.aten.threshold_backward(both, x, 0),)

    yield Case(
        "gradient of pool, skip and ReLU",
        lambda: (torch.ops.unet_fast.max_pool_backward(grad, x, skip, True),),
        lambda: plain(*double(x, grad, skip)),
        lambda: plain(x, grad, skip),
        moved(x, grad, skip, x),
        BFLOAT16_ERROR,
    )


def loss(batch: int, side: int) -> Iterator[Case]:
    """The weighted cross entropy, and its gradient."""
    logits = torch.randn(batch, CLASSES, side, side).contiguous(memory_format=torch.channels_last)
    classes = torch.randint(CLASSES, (batch, side, side), dtype=torch.uint8)
    weights = torch.rand(batch, side, side)
    forward, backward = torch.ops.unet_fast.weighted_cross_entropy, torch.ops.unet_fast.weighted_cross_entropy_backward
    one, (_, scale) = torch.ones(()), forward(logits, classes, weights, "weight")

    def plain(logits: Tensor) -> Tensor:
        return reference.weighted_cross_entropy(logits, classes, weights, "weight")

    def plain_gradient(logits: Tensor) -> tuple[Tensor, ...]:
        given = logits.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(plain(given), given)

    read = moved(logits, classes, weights)
    yield Case(
        "loss",
        lambda: (forward(logits, classes, weights, "weight")[0],),
        lambda: (plain(logits.double()),),
        lambda: (plain(logits),),
        read,
        FLOAT32_ERROR,
    )
    yield Case(
        "loss, gradient (PyTorch: with the loss)",
        lambda: (backward(one, scale, logits, classes, weights),),
        lambda: plain_gradient(logits.double()),
        lambda: plain_gradient(logits),
        read + moved(logits),
        FLOAT32_ERROR,
    )


def augmentation(side: int, seed: int) -> Iterator[Case]:
    """Warp of an image and its labels, their classes and their weights."""
    here = torch.get_default_device()
    image = torch.randint(256, (1, 1, side, side), dtype=torch.uint8)
    labels = drawn_cells(side * side // 1000, side).to(here, copy=True)
    class_weight = torch.tensor([0.8, 1.3])
    drawn = random_warp(seed, 0, 0, [(side, side)], side, AugmentConfig(), margin=0)
    warp = drawn.to(here)
    classes = ops.target_classes(labels)
    out = moved(labels, labels)  # float32, and labels
    yield Case(
        "warp of image and labels",
        lambda: ops.elastic_warp(image, labels, warp, side),
        lambda: ops.elastic_warp(image.cpu(), labels.cpu(), drawn, side),
        None,
        moved(image, labels) + out,
        SAME_BITS,
    )
    yield Case(
        "classes with a gap",
        lambda: (ops.target_classes(labels),),
        lambda: (ops.target_classes(labels.cpu()),),
        None,
        moved(labels, classes),
        SAME_BITS,
    )
    yield Case(
        "weight map",
        lambda: (ops.weight_map(labels, class_weight, classes=classes),),
        lambda: (ops.weight_map(labels.cpu(), class_weight.cpu(), classes=classes.cpu()),),
        None,
        moved(labels, classes, labels),
        FLOAT32_ERROR,
    )


def tiling(side: int) -> Iterator[Case]:
    """A large image to the network's tiles, and its scores back."""
    tile, border = 572, 184
    image = torch.randint(256, (1, side, side), dtype=torch.uint8)
    places = torch.arange(0, side, tile - border)
    corners = torch.cartesian_prod(places, places)
    scale, offset = torch.tensor([1 / 255]), torch.tensor([-0.5])
    scores = torch.randn(len(corners), CLASSES, tile - border, tile - border)

    def pad_and_cut() -> tuple[Tensor, ...]:
        reach = int(places[-1]) + tile - border // 2 - side
        padded = F.pad(image.float() * scale + offset, [border // 2, reach] * 2, mode="reflect").bfloat16()
        windows = padded.unfold(1, tile, tile - border).unfold(2, tile, tile - border)
        return (windows.reshape(1, -1, tile, tile).movedim(0, 1),)

    def cut(on: torch.device) -> tuple[Tensor, ...]:
        arguments = [tensor.to(on) for tensor in (image, corners - border // 2)]
        change = {"scale": scale.to(on), "offset": offset.to(on)}
        return (ops.mirror_tiles(*arguments, tile, **change, dtype=torch.bfloat16),)

    here = torch.get_default_device()
    peer = pad_and_cut if side > tile else None
    yield Case("mirrored tiles", lambda: cut(here), lambda: cut(torch.device("cpu")), peer,
               moved(image) + 2 * len(corners) * tile**2, SAME_BITS)  # fmt: skip
    yield Case(
        "stitched tiles",
        lambda: (ops.stitch_tiles(scores, corners, (side, side)),),
        lambda: (ops.stitch_tiles(scores.cpu(), corners.cpu(), (side, side)),),
        None,
        2 * 4 * CLASSES * side**2,
        SAME_BITS,
    )
