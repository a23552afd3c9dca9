"""The raw operators behind `conv_relu`: without gradients, with the memory that the kernels want."""

import torch
from torch import Tensor

from unet_fast.ops._native import _C, allows_tf32, empty, register, scratch, stream
from unet_fast.ops.max_pool import cropped


def channels_last(x: Tensor) -> Tensor:
    """Return x in channels_last memory, itself where it lies there."""
    return x.contiguous(memory_format=torch.channels_last)


def dense_pixels(skip: Tensor | None) -> Tensor | None:
    """Return a skip as the kernels read it: any window of channels_last memory as it is."""
    if skip is None or (skip.stride(1) == 1 and skip.stride(3) == skip.shape[1]):
        return skip
    return channels_last(skip)


def resolved(algorithm: str, x: Tensor, skip: Tensor | None, weight: Tensor) -> str:
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
        return channels_last(weight.movedim(summed, 1)).movedim(1, summed)
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
    x, skip = channels_last(x), dense_pixels(skip)
    algorithm = resolved(algorithm, x, skip, weight)
    if skip is not None and not _C.conv_relu_fuses(x, skip, weight, algorithm):
        x, skip = channels_last(torch.cat([x, skip], dim=1)), None
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
    x = channels_last(x)
    first = None if first_weight is None or first_bias is None else (first_weight, first_bias.contiguous())
    if first and not _C.conv_relu_makes_first(x, first[0], weight, algorithm):
        x, first = _conv_relu(x, *first, True, algorithm), None
    if not first:
        algorithm = resolved(algorithm, x, None, weight)
    if not first and not _C.conv_relu_fuses(x, None, weight, algorithm):
        _pooled_size(x, weight, crop, False)
        y = _conv_relu(x, weight, bias, True, algorithm, packed=packed)
        pooled: Tensor = torch.ops.unet_fast.max_pool(y)
        return (channels_last(cropped(y, crop)) if crop else y), pooled
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
    x, skip = channels_last(x), dense_pixels(skip)
    algorithm = resolved(algorithm, x, skip, weight)
    if skip is not None and not _C.conv_relu_fuses(x, skip, weight, algorithm):
        both = torch.cat([x, skip], dim=1)
        grad_both, grad_weight, grad_bias, nothing = _conv_relu_backward(grad, y, both, weight, needs, algorithm)
        if not needs[0]:
            return grad_both, grad_weight, grad_bias, nothing
        grad_x, grad_skip = (channels_last(part) for part in grad_both.split([x.shape[1], skip.shape[1]], dim=1))
        if masks_gradient:
            grad_x = torch.ops.aten.threshold_backward(grad_x, x, 0)
        return grad_x, grad_weight, grad_bias, grad_skip
    results = _empty_backward(grad, y, x, weight, needs, algorithm, skip)
    grad_x, grad_weight, grad_bias, grad_skip = results
    grad, y = channels_last(grad), y if y is None else channels_last(y)
    if y is not None and x.is_cuda and _C.conv_relu_fuses(x, skip, weight, algorithm):
        # Tensor cores read the gradient as it is.
        grad, y = channels_last(torch.ops.aten.threshold_backward(grad, y, 0)), None
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
