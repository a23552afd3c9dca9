"""Valid 3x3 convolution, bias and ReLU: the step of which the network is made (figure 1 of the paper)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unet_fast.ops._conv_relu import channels_last, dense_pixels, resolved
from unet_fast.ops._native import _C, allows_tf32
from unet_fast.ops.max_pool import cropped


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
            gradients, too.
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
    x, skip = channels_last(x), dense_pixels(skip)
    if resolved("auto", x, skip, weight) == "mma":
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
        return channels_last(weight) if takes_tensor_cores else None
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
        return cropped(y, crop), pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_skip: Tensor, grad_pooled: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        needs = list(ctx.needs_input_grad[:3])
        grad = torch.ops.unet_fast.max_pool_backward(grad_pooled, y, grad_skip, True)
        options = (ctx.algorithm, None, ctx.masks_gradient)
        *grads, _ = torch.ops.unet_fast.conv_relu_backward(grad, None, x, weight, needs, *options)
        return *(grad if need else None for grad, need in zip(grads, needs, strict=True)), None, None, None
