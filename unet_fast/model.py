"""The U-Net, figure 1 of the paper, read from top to bottom."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unet_fast import geometry, ops, reference
from unet_fast.dropout import Seeds, drop

Variant = Literal["paper", "release2015"]
Backend = Literal["native", "torch"]
_BACKENDS: dict[str, ModuleType] = {"native": ops, "torch": reference}


class _Convolution(nn.Module):
    """Weight and bias of one convolution, drawn from N(0, 2/N), N = incoming connections of a unit (section 3)."""

    def __init__(self, shape: tuple[int, int, int, int], outputs: int, fan_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape).normal_(std=(2 / fan_in) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.converted: tuple[Tensor, Tensor] | None = None

    def in_dtype_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias in the dtype that is computed in."""
        if self.converted is not None and self.converted[0].dtype == x.dtype:
            return self.converted
        return self.weight.to(x.dtype), self.bias.to(x.dtype)

    def convert(self, dtype: torch.dtype) -> None:
        """Keep weight and bias in a dtype, in the memory order of tensor cores; gradients go on to the parameters."""
        channels_last = self.weight.is_cuda and self.weight.shape[-1] == 3
        memory_format = torch.channels_last if channels_last else torch.preserve_format
        self.converted = self.weight.to(dtype, memory_format=memory_format), self.bias.to(dtype)


def _conv3x3(inputs: int, outputs: int) -> _Convolution:
    return _Convolution((outputs, inputs, 3, 3), outputs, fan_in=9 * inputs)


def _up_conv2x2(inputs: int, outputs: int) -> _Convolution:
    # With stride 2 and a 2x2 kernel each output pixel sees one input pixel.
    return _Convolution((inputs, outputs, 2, 2), outputs, fan_in=inputs)


def _head1x1(inputs: int, outputs: int) -> _Convolution:
    return _Convolution((outputs, inputs, 1, 1), outputs, fan_in=inputs)


class _Block(nn.Module):
    """The two 3x3 convolutions of a level."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, outputs)
        self.conv2 = _conv3x3(outputs, outputs)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _recompute(draws: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call, keep only the result, and compute what lies between again when the gradient needs it.

    `draws`: from torch's generator, whose state is then kept, too; a CUDA graph cannot hold that.
    """
    return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=draws)


class UNet(nn.Module):
    """The network of the paper: valid 3x3 convolutions, skips cropped and concatenated, a map of class scores.

    Args:
        channels: of the image, default 1.
        classes: of the result, default 2 (background and cell).
        base: feature channels of the first level, 64 in the paper; each level doubles them.
        depth: levels of the contracting path, 4 in the paper.
        variant: "paper", or "release2015" for the network of the authors' released Caffe model: ReLU after each
            up-convolution, and a last up-convolution that keeps its channels.
        backend: "native" for this package's operators, "torch" for the same in plain PyTorch. Both share their
            parameters; `model.backend` may be changed at any time.
        dropout: probability at the end of the contracting path (after its last two blocks), 0.5 in the released model.

    Attributes:
        kind: its name on the command line.
        maps_per_channel: float32 maps of the tile's size, per channel of `base`, that prediction needs at once.
        gradient_checkpointing: keep only what passes between levels and compute the rest again in the backward pass:
            less memory, about a third more work. False at first.

    Shape:
        [N, C, H, W] -> [N, K, H-184, W-184] for depth 4, scores, or on request their softmax. Legal sides are 16k + 60
        from 188 on; `unet_fast.geometry` computes them. The image's dtype (float32 or bfloat16; with the torch backend
        also float16) is the dtype computed in; parameters stay float32. The native backend on a CPU computes all of
        them in float32: bfloat16 is slower there by nature.

    Raises:
        ValueError: an argument is out of range, or the input's size is illegal (the message names the nearest legal
            ones).
    """

    kind: ClassVar[str] = "unet"
    maps_per_channel: ClassVar[float] = 3.5

    def __init__(
        self,
        channels: int = 1,
        classes: int = 2,
        base: int = 64,
        depth: int = 4,
        variant: Variant = "paper",
        backend: Backend = "native",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("channels", channels, 1),
            ("classes", classes, 2),
            ("base", base, 1),
            ("depth", depth, 1),
        ):
            if value < least:
                raise ValueError(f"{name}: wanted at least {least}, got {value}")
        if variant not in ("paper", "release2015"):
            raise ValueError(f"variant: wanted paper or release2015, got {variant}")
        if backend not in _BACKENDS:
            raise ValueError(f"backend: wanted native or torch, got {backend}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: wanted a probability in [0, 1), got {dropout}")
        self.channels, self.classes, self.base, self.depth = channels, classes, base, depth
        self.variant, self.backend, self.dropout = variant, backend, dropout
        self.gradient_checkpointing = False

        widths = [base * 2**level for level in range(depth + 1)]
        self.contracting = nn.ModuleList(_Block(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.up = nn.ModuleList()
        self.expanding = nn.ModuleList()
        for level in reversed(range(depth)):
            up = widths[level + 1] if variant == "release2015" and level == 0 else widths[level]
            self.up.append(_up_conv2x2(widths[level + 1], up))
            self.expanding.append(_Block(up + widths[level], widths[level]))
        self.head = _head1x1(base, classes)
        self._packed: dict[nn.Module, Tensor | None] = {}

    @property
    def sides(self) -> geometry.Sides:
        """Which sides the network reads, and what they become."""
        return geometry.Sides.of(self.depth)

    @property
    def is_native_on_cpu(self) -> bool:
        """Whether this package's operators compute it, on the CPU."""
        return self.backend == "native" and self.head.weight.is_cpu

    @property
    def settings(self) -> dict[str, Any]:
        """What the class has to be called with, besides the backend, to build this network again."""
        names = ("channels", "classes", "base", "depth", "variant", "dropout")
        return {name: getattr(self, name) for name in names}

    def forward(self, image: Tensor, dropout_seeds: Seeds = None, softmax: bool = False) -> Tensor:
        """Compute the class scores of an image, or their probabilities; see the class for shapes.

        Args:
            image: [N, C, H, W].
            dropout_seeds: N numbers, 0 to 2^63 - 1, or int64 [N] of them; the dropout of an image then depends on its
                own alone, whatever else is in the batch. None takes torch's generator.
            softmax: whether to return probabilities, float32, instead of scores in the image's dtype. With the native
                backend they have no gradient, and a pixel's bits depend on nothing but its scores.
        """
        self._check(image)
        if not self.is_native_on_cpu:
            return self._compute(image, dropout_seeds, softmax)
        x = image.float() if image.dtype in {torch.bfloat16, torch.float16} else image
        result = ops.with_threads_awake(partial(self._compute, x, dropout_seeds, softmax))
        return result if softmax else result.to(image.dtype)

    def _compute(self, x: Tensor, dropout_seeds: Seeds, softmax: bool) -> Tensor:
        recomputes = self.gradient_checkpointing and torch.is_grad_enabled()
        run = partial(_recompute, dropout_seeds is None) if recomputes else _call
        skips: list[Tensor] = []
        for level in range(self.depth):
            skip, x = run(self._contract, x, level, dropout_seeds)
            skips.append(skip)
        x = run(self._bottom, x, dropout_seeds)
        for step in range(self.depth):
            x = run(self._expand, x, skips.pop(), step)
        result: Tensor = self._op.head(x, *self.head.in_dtype_of(x), softmax=softmax)
        return result

    def _contract(self, x: Tensor, level: int, seeds: Seeds) -> tuple[Tensor, Tensor]:
        """Convolve twice; return what goes across, cropped to what comes back up, and what goes down, pooled."""
        op, block, crop = self._op, self._blocks()[0][level], geometry.border(self.depth - 1 - level)
        drops = self.training and self.dropout > 0 and level == self.depth - 1
        if level > 0 or drops:
            x, first = op.conv_relu(x, **self._weights(block.conv1, x), gradient_is_masked=True), None
        else:
            first = block.conv1.in_dtype_of(x)
        second = self._weights(block.conv2, x)
        if drops:
            x = self._drop(op.conv_relu(x, **second, masks_gradient=True), level, seeds)
            skip, pooled = op.crop_and_pool(x, crop)
            return skip, pooled
        skip, pooled = op.conv_relu_pool(x, **second, crop=crop, first=first, masks_gradient=first is None)
        return skip, pooled

    def _bottom(self, x: Tensor, seeds: Seeds) -> Tensor:
        block = self._blocks()[0][-1]
        x = self._op.conv_relu(x, **self._weights(block.conv1, x), gradient_is_masked=True)
        x = self._op.conv_relu(x, **self._weights(block.conv2, x), masks_gradient=True)
        return self._drop(x, self.depth, seeds)

    def _expand(self, x: Tensor, skip: Tensor, step: int) -> Tensor:
        up, block = self.up[step], self._blocks()[1][step]
        assert isinstance(up, _Convolution)
        x = self._op.up_conv(x, *up.in_dtype_of(x))
        if self.variant == "release2015":
            x = F.relu(x)
        x = self._op.conv_relu(x, **self._weights(block.conv1, x), skip=skip, gradient_is_masked=True)
        result: Tensor = self._op.conv_relu(x, **self._weights(block.conv2, x), masks_gradient=True)
        return result

    def _drop(self, x: Tensor, level: int, seeds: Seeds) -> Tensor:
        return drop(x, self.dropout, self.training, seeds, level)

    @property
    def _op(self) -> ModuleType:
        return _BACKENDS[self.backend]

    def _blocks(self) -> tuple[list[_Block], list[_Block]]:
        """Return the blocks of the contracting and of the expanding path, from the image to the result."""
        return cast("list[_Block]", list(self.contracting)), cast("list[_Block]", list(self.expanding))

    @contextmanager
    def packed_weights(self, dtype: torch.dtype = torch.float32) -> Iterator[None]:
        """Within this context, the weights are converted to a dtype only once; entered without gradients, packed, too.

        For many forward passes, or the parts of a training step. With the native backend 3x3 weights are kept as the
        kernels want them: on the CPU float32, which saves up to 10 % of the time of a 572x572 tile and takes four times
        their memory, 450 MB at base 64 (six times for some layers, 560 MB in all, with AMX); on CUDA bfloat16. The
        weights must not change within.

        Args:
            dtype: of the images that will be computed.
        """
        contracting, expanding = self._blocks()
        threes = [conv for block in contracting + expanding for conv in (block.conv1, block.conv2)]
        convolutions = [module for module in self.modules() if isinstance(module, _Convolution)]
        if self.is_native_on_cpu:
            dtype = torch.float32  # is computed in there
        for conv in convolutions:
            conv.convert(dtype)
        if self.backend == "native" and not torch.is_grad_enabled():
            self._packed = {conv: ops.pack_conv_relu(conv.converted[0]) for conv in threes if conv.converted}
        try:
            yield
        finally:
            self._packed = {}
            for conv in convolutions:
                conv.converted = None

    def _weights(self, conv: _Convolution, x: Tensor) -> dict[str, Tensor | None]:
        """Return the arguments of `ops.conv_relu` that belong to a convolution."""
        weight, bias = conv.in_dtype_of(x)
        packed = self._packed.get(conv)
        packed = packed if packed is None or packed.dtype == x.dtype else None
        return {"weight": weight, "bias": bias, "packed": packed}

    def _check(self, image: Tensor) -> None:
        if image.dim() != 4 or image.shape[1] != self.channels:
            raise ValueError(f"image: wanted shape [N, {self.channels}, H, W], got {list(image.shape)}")
        for side in image.shape[-2:]:
            geometry.check_side(side, "image", self.depth)

    def extra_repr(self) -> str:
        """Return what the network was built with."""
        return ", ".join(f"{name}={value!r}" for name, value in (self.settings | {"backend": self.backend}).items())
