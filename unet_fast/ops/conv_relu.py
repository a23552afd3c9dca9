"""Valid 3x3 convolution, bias and ReLU: the step of which the network is made (figure 1 of the paper)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unet_fast.ops._native import _C, allows_tf32, empty, register, scratch, stream


def conv_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    skip: Tensor | None = None,
    relu: bool = True,
    algorithm: str = "auto",
    packed: Tensor | None = None,
    masks_gradient: bool = False,
    gradient_is_masked: bool = False,
) -> Tensor:
    """Convolve with a 3x3 kernel without padding, add the bias and take the positive part.

    Differentiable once with respect to x, weight, bias and skip. Sums are float32 for all dtypes, and in an order that
    does not depend on the number of threads. On the CPU, float32 layers from 16 channels on run by Winograd's
    algorithm, whose relative L2 error against exact sums is at most 3e-6 for the result and the gradient of x and
    1.2e-5 for that of the weight; bfloat16 is computed in float32 inside.

    Args:
        x: [N, C, H, W] with H, W >= 3, float32, bfloat16 or, on CUDA, float16, any strides; channels_last is fastest
            (no copy).
        weight: [O, C, 3, 3], dtype of x, any strides; [O, C + S, 3, 3] with a skip.
        bias: [O], dtype of x.
        skip: [N, S, H, W], dtype of x, or None (default): read as torch.cat([x, skip], dim=1) would be. Where
            Winograd's algorithm is chosen and C is a multiple of 16, or tensor cores, nothing is concatenated, and skip
            may be a window of a channels_last tensor; elsewhere it is concatenated.
        relu: whether the positive part is taken; default True, as in the paper.
        algorithm: "auto" (default) chooses by shape; "direct" takes the sums as they are written; "winograd" saves
            three quarters of the multiplications and is for float32 on the CPU, where it is chosen from 16 channels on.
            It computes tiles of 4 x 4 pixels: an input that is not finite spoils the whole tiles that read it. "mma"
            and "wgmma" are for CUDA with C, S and O multiples of 8: tensor cores from compute capability 8.0 on, and
            those of 9.0 by its own instructions, which are for bfloat16 and float16. There they are chosen, "wgmma"
            first, and `conv_relu_algorithm` says which. "mma" rounds float32 to TF32 (10 bits of mantissa), and is
            chosen for it where torch lets products do so (`torch.set_float32_matmul_precision("high")`). Holds for the
            gradients, too; of float32 the weight's by "mma" is "direct".
        packed: what `pack_conv_relu(weight)` returned, or None (default).
        masks_gradient: whether x is the result of a ReLU, and its gradient wanted as that of the ReLU's input, 0 where
            x <= 0; default False. The gradient is masked while it is stored.
        gradient_is_masked: promises that nothing reads the result but operators that mask its gradient, which is then
            taken as it is; default False: 0 where the result is 0. To mask twice changes nothing but the time.

    Returns:
        [N, O, H - 2, W - 2], dtype of x, in channels_last memory.

    Raises:
        ValueError: an argument has the wrong shape or device, or the algorithm is unknown or not for this.
        TypeError: an argument has the wrong dtype.
    """
    if _wants_gradient(x, skip, weight, bias):
        options = (relu, algorithm, masks_gradient, gradient_is_masked)
        return _ConvRelu.apply(x, weight, bias, skip, *options)  # type: ignore[no-any-return,no-untyped-call]
    return torch.ops.unet_fast.conv_relu(x, weight, bias, relu, algorithm, skip, packed)  # type: ignore[no-any-return]


def conv_relu_pool(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    crop: int = 0,
    *,
    algorithm: str = "auto",
    packed: Tensor | None = None,
    first: tuple[Tensor, Tensor] | None = None,
    masks_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """Convolve as `conv_relu` does, and take both ways on: the skip, cropped, and the maximum of every 2x2 pixels.

    Where Winograd's algorithm is chosen on the CPU, or tensor cores on CUDA, one pass writes both, and without
    gradients no pixel that is cropped away. Differentiable like `conv_relu`.

    Args:
        x: as for `conv_relu`, with even H and W.
        weight: as for `conv_relu`.
        bias: as for `conv_relu`.
        crop: pixels along each edge that the skip leaves out; default 0.
        algorithm: as for `conv_relu`.
        packed: as for `conv_relu`.
        first: weight and bias of a `conv_relu` before this one, or None (default): x is then the input of that one.
            Without gradients on the CPU, the result for an image of 1 to 4 channels is made on the way, part by part,
            and never stored; elsewhere it is computed first.
        masks_gradient: as for `conv_relu`.

    Returns:
        The skip [N, O, H - 2 - 2 crop, W - 2 - 2 crop], a window of channels_last memory, and the pooled
        [N, O, (H - 2) / 2, (W - 2) / 2], channels_last.

    Raises:
        ValueError: an argument has the wrong shape or device, crop leaves nothing, or the algorithm is unknown.
        TypeError: an argument has the wrong dtype.
    """
    if _wants_gradient(x, None, weight, bias, *(first or ())):
        if first is not None:
            x = conv_relu(x, *first, algorithm=algorithm, masks_gradient=masks_gradient, gradient_is_masked=True)
            masks_gradient = True
        options = (crop, algorithm, masks_gradient)
        return _ConvReluPool.apply(x, weight, bias, *options)  # type: ignore[no-any-return,no-untyped-call]
    arguments = (x, weight, bias, crop, algorithm, packed, *(first or ()))
    return torch.ops.unet_fast.conv_relu_pool(*arguments)  # type: ignore[no-any-return]


def conv_relu_algorithm(x: Tensor, weight: Tensor, *, skip: Tensor | None = None) -> str:
    """Return what "auto" means for `conv_relu` on CUDA: "wgmma", "mma" or "direct".

    Tensor cores take every number of channels that is a multiple of 8, and fill up to the 64 that they multiply at once
    with zeros; for other numbers it is "direct".

    Args:
        x: as for `conv_relu`, on CUDA.
        weight: as for `conv_relu`.
        skip: as for `conv_relu`; "direct" is given both sources concatenated.

    Raises:
        ValueError: an argument has the wrong shape or device.
        TypeError: an argument has the wrong dtype.
    """
    x, skip = _channels_last(x), _dense_pixels(skip)
    if _resolved("auto", x, skip, weight) == "mma":
        return "mma"
    name: str = _C.conv_relu_cuda_algorithm(x, skip, weight)
    return "direct" if name == "auto" else name  # there is none that takes both sources


def pack_conv_relu(weight: Tensor) -> Tensor | None:
    """Transform a weight once for many calls of `conv_relu` or `conv_relu_pool` without gradients.

    Args:
        weight: [O, C, 3, 3], float32 on the CPU, any dtype of `conv_relu` on CUDA.

    Returns:
        On the CPU the transformed weight, four times the memory of the weight (six where AMX multiplies it) and valid
        for the instruction set in use; on CUDA, where tensor cores may take it, a weight in their memory order
        (channels_last). None where "auto" takes the weight as it is.

    Raises:
        ValueError: the weight has the wrong shape or device.
        TypeError: the weight has the wrong dtype.
    """
    if weight.is_cuda:
        takes_tensor_cores = weight.dtype != torch.float32 or allows_tf32(weight)
        return _channels_last(weight) if takes_tensor_cores else None
    floats = _C.conv_relu_packed(weight)
    if not floats:
        return None
    packed = weight.new_empty(floats)
    _C.conv_relu_pack(weight, packed)
    return packed


def _wants_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


class _ConvRelu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        skip: Tensor | None,
        relu: bool,
        algorithm: str,
        masks_gradient: bool,
        gradient_is_masked: bool,
    ) -> Tensor:
        y: Tensor = torch.ops.unet_fast.conv_relu(x, weight, bias, relu, algorithm, skip)
        ctx.algorithm, ctx.masks_gradient = algorithm, masks_gradient
        ctx.save_for_backward(x, weight, y if relu and not gradient_is_masked else None, skip)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y, skip = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:4]
        needs = [wanted[0] or wanted[3], *wanted[1:3]]
        options = (ctx.algorithm, skip, ctx.masks_gradient)
        grads = torch.ops.unet_fast.conv_relu_backward(grad, y, x, weight, needs, *options)
        return *(grad if need else None for grad, need in zip(grads, wanted, strict=True)), None, None, None, None


class _ConvReluPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, crop: int, algorithm: str, masks_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        y, pooled = torch.ops.unet_fast.conv_relu_pool(x, weight, bias, 0, algorithm)
        ctx.algorithm, ctx.masks_gradient = algorithm, masks_gradient
        ctx.save_for_backward(x, weight, y)
        return _cropped(y, crop), pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_skip: Tensor, grad_pooled: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        needs = list(ctx.needs_input_grad[:3])
        grad = torch.ops.unet_fast.max_pool_backward(grad_pooled, y, grad_skip, True)
        options = (ctx.algorithm, None, ctx.masks_gradient)
        *grads, _ = torch.ops.unet_fast.conv_relu_backward(grad, None, x, weight, needs, *options)
        return *(grad if need else None for grad, need in zip(grads, needs, strict=True)), None, None, None


def _cropped(y: Tensor, crop: int) -> Tensor:
    return y[..., crop : y.shape[-2] - crop, crop : y.shape[-1] - crop]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _dense_pixels(skip: Tensor | None) -> Tensor | None:
    """Return a skip as the kernels read it: any window of channels_last memory as it is."""
    if skip is None or (skip.stride(1) == 1 and skip.stride(3) == skip.shape[1]):
        return skip
    return _channels_last(skip)


def _resolved(algorithm: str, x: Tensor, skip: Tensor | None, weight: Tensor) -> str:
    """Return the algorithm, where "auto" of float32 on CUDA is "mma" if torch allows TF32 and the shapes do."""
    is_tf32 = algorithm == "auto" and allows_tf32(x) and _C.conv_relu_fuses(x, skip, weight, "mma")
    return "mma" if is_tf32 else algorithm


_FEW_CHANNELS = 4  # of an image; see csrc/cuda/few_channels.cu


def _cuda_weight(x: Tensor, skip: Tensor | None, weight: Tensor, algorithm: str, transposed: bool = False) -> Tensor:
    """Lay a weight out as the kernels of CUDA read it; those of the CPU pack it themselves.

    Tensor cores want the channels over which is summed innermost, the portable kernel the others: [3, 3, .., ..].
    Summed are the inputs, or, transposed, the outputs. The first layer's kernel takes a weight as it is.
    """
    if x.shape[1] <= _FEW_CHANNELS and not transposed:
        return weight
    summed = 0 if transposed else 1
    if _C.conv_relu_fuses(x, skip, weight, algorithm):
        return _channels_last(weight.movedim(summed, 1)).movedim(1, summed)
    return weight.movedim((2, 3, 1 - summed), (0, 1, 3)).contiguous().movedim((0, 1, 3), (2, 3, 1 - summed))


def _size(x: Tensor, weight: Tensor, crop: int = 0) -> tuple[int, int, int, int]:
    if x.dim() != 4 or x.shape[2] < 3 or x.shape[3] < 3:
        raise ValueError(f"conv_relu: x: wanted shape [N, C, H, W] with H, W >= 3, got {list(x.shape)}")
    return x.shape[0], weight.shape[0], x.shape[2] - 2 - 2 * crop, x.shape[3] - 2 - 2 * crop


def _empty(x: Tensor, weight: Tensor, *_: object) -> Tensor:
    return empty(x, _size(x, weight), torch.channels_last)


def _conv_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    relu: bool,
    algorithm: str = "auto",
    skip: Tensor | None = None,
    packed: Tensor | None = None,
) -> Tensor:
    y = _empty(x, weight)
    x, skip = _channels_last(x), _dense_pixels(skip)
    algorithm = _resolved(algorithm, x, skip, weight)
    if skip is not None and not _C.conv_relu_fuses(x, skip, weight, algorithm):
        x, skip = _channels_last(torch.cat([x, skip], dim=1)), None
    if x.is_cuda:
        weight, packed = _cuda_weight(x, skip, weight if packed is None else packed, algorithm), None
    _C.conv_relu(x, skip, weight, bias.contiguous(), relu, algorithm, packed, 0, y, None, None, scratch(x), stream(x))
    return y


register(
    "conv_relu(Tensor x, Tensor weight, Tensor bias, bool relu, str algorithm='auto', Tensor? skip=None,"
    " Tensor? packed=None) -> Tensor",
    _conv_relu,
    _empty,
)


def _pooled_size(x: Tensor, weight: Tensor, crop: int, first: bool) -> tuple[int, int, int, int]:
    """Return the size of what conv_relu_pool pools; `first` is whether there is a layer before."""
    n, channels, height, width = _size(x, weight, 1 if first else 0)
    if height % 2 or width % 2 or height < 1 or width < 1:
        raise ValueError(f"conv_relu_pool: x: wanted even height and width, got {list(x.shape)}")
    if not 0 <= 2 * crop < min(height, width):
        raise ValueError(f"conv_relu_pool: crop: wanted 0 to {(min(height, width) - 1) // 2}, got {crop}")
    return n, channels, height, width


def _empty_pool(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    crop: int,
    algorithm: str = "auto",
    packed: Tensor | None = None,
    first_weight: Tensor | None = None,
    first_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    n, channels, height, width = _pooled_size(x, weight, crop, first_weight is not None)
    skip = empty(x, (n, channels, height - 2 * crop, width - 2 * crop), torch.channels_last)
    return skip, empty(x, (n, channels, height // 2, width // 2), torch.channels_last)


def _conv_relu_pool(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    crop: int,
    algorithm: str = "auto",
    packed: Tensor | None = None,
    first_weight: Tensor | None = None,
    first_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    x = _channels_last(x)
    first = None if first_weight is None or first_bias is None else (first_weight, first_bias.contiguous())
    if first and not _C.conv_relu_makes_first(x, first[0], weight, algorithm):
        x, first = _conv_relu(x, *first, True, algorithm), None
    if not first:
        algorithm = _resolved(algorithm, x, None, weight)
    if not first and not _C.conv_relu_fuses(x, None, weight, algorithm):
        _pooled_size(x, weight, crop, False)
        y = _conv_relu(x, weight, bias, True, algorithm, packed=packed)
        pooled: Tensor = torch.ops.unet_fast.max_pool(y)
        return (_channels_last(_cropped(y, crop)) if crop else y), pooled
    skip, pooled = _empty_pool(x, weight, bias, crop, algorithm, packed, *(first or ()))
    if x.is_cuda:
        weight, packed = _cuda_weight(x, None, weight if packed is None else packed, algorithm), None
    bias = bias.contiguous()
    _C.conv_relu(x, None, weight, bias, True, algorithm, packed, crop, skip, pooled, first, scratch(x), stream(x))
    return skip, pooled


register(
    "conv_relu_pool(Tensor x, Tensor weight, Tensor bias, int crop, str algorithm='auto', Tensor? packed=None,"
    " Tensor? first_weight=None, Tensor? first_bias=None) -> (Tensor, Tensor)",
    _conv_relu_pool,
    _empty_pool,
)


def _empty_backward(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    weight: Tensor,
    needs: list[bool],
    algorithm: str = "auto",
    skip: Tensor | None = None,
    masks_gradient: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    needs_weight = needs[1] or needs[2]  # the two are computed together
    return (
        empty(x, x.shape, torch.channels_last) if needs[0] else x.new_empty(0),
        empty(weight, weight.shape, torch.contiguous_format) if needs_weight else x.new_empty(0),
        weight.new_empty(weight.shape[0]) if needs_weight else x.new_empty(0),
        empty(x, skip.shape, torch.channels_last) if needs[0] and skip is not None else x.new_empty(0),
    )


def _conv_relu_backward(
    grad: Tensor,
    y: Tensor | None,
    x: Tensor,
    weight: Tensor,
    needs: list[bool],
    algorithm: str = "auto",
    skip: Tensor | None = None,
    masks_gradient: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, skip = _channels_last(x), _dense_pixels(skip)
    algorithm = _resolved(algorithm, x, skip, weight)
    if skip is not None and not _C.conv_relu_fuses(x, skip, weight, algorithm):
        both = torch.cat([x, skip], dim=1)
        grad_both, grad_weight, grad_bias, nothing = _conv_relu_backward(grad, y, both, weight, needs, algorithm)
        if not needs[0]:
            return grad_both, grad_weight, grad_bias, nothing
        grad_x, grad_skip = (_channels_last(part) for part in grad_both.split([x.shape[1], skip.shape[1]], dim=1))
        if masks_gradient:
            grad_x = torch.ops.aten.threshold_backward(grad_x, x, 0)
        return grad_x, grad_weight, grad_bias, grad_skip
    results = _empty_backward(grad, y, x, weight, needs, algorithm, skip)
    grad_x, grad_weight, grad_bias, grad_skip = results
    grad, y = _channels_last(grad), y if y is None else _channels_last(y)
    if y is not None and x.is_cuda and _C.conv_relu_fuses(x, skip, weight, algorithm):
        # Tensor cores read the gradient as it is.
        grad, y = _channels_last(torch.ops.aten.threshold_backward(grad, y, 0)), None
    if needs[0]:
        rest = None if skip is None else grad_skip
        turned = _cuda_weight(x, skip, weight, algorithm, transposed=True) if x.is_cuda else weight
        mask = x if masks_gradient else None
        _C.conv_relu_data_grad(grad, y, turned, algorithm, mask, grad_x, rest, scratch(x), stream(x))
    if needs[1] or needs[2]:
        _C.conv_relu_weight_grad(grad, y, x, skip, algorithm, grad_weight, grad_bias, scratch(x), stream(x))
    return results


# y is the result where it had a ReLU and grad has not gone through it, else None. What is not needed comes back empty;
# needs[0] speaks of x and skip.
register(
    "conv_relu_backward(Tensor grad, Tensor? y, Tensor x, Tensor weight, bool[3] needs, str algorithm='auto',"
    " Tensor? skip=None, bool masks_gradient=False) -> (Tensor, Tensor, Tensor, Tensor)",
    _conv_relu_backward,
    _empty_backward,
)
