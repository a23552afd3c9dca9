"""The network of the paper in the ways that are compared: this package's and plain PyTorch's, in both memory layouts.

All live on the CPU, compute in float32 and hold equal parameters. `direct_gflop` counts the convolutions as they are
written, so that an algorithm that multiplies less (Winograd's) may show a rate above the machine's.
"""

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unet_fast.loss import weighted_cross_entropy
from unet_fast.model import UNet
from unet_fast.ops import with_threads_awake

NCHW, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
COMPILED, FROZEN = "torch.compile", "torch.compile frozen channels_last"


def in_layout(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Copy a tensor to memory of this format.

    With one channel `tensor.contiguous(memory_format=torch.channels_last)` changes nothing: the tensor keeps strides
    that PyTorch reads as NCHW, and the first convolution would run, and answer, in that layout.
    """
    return torch.empty_like(tensor, memory_format=memory_format).copy_(tensor)


def network(base: int, backend: str = "native", memory_format: torch.memory_format = NCHW) -> UNet:
    """Return the network without dropout (a mask of each rival's own could not be compared), the same every time."""
    torch.manual_seed(0)
    return UNet(base=base, backend=backend, dropout=0.0).to(memory_format=memory_format)


def twin(net: UNet, memory_format: torch.memory_format) -> UNet:
    """Return the same network in plain PyTorch, with parameters of its own that equal those of `net`."""
    peer = network(net.base, "torch", memory_format)
    peer.load_state_dict(net.state_dict())
    return peer.train(net.training)


def forward_rivals(net: UNet, image: Tensor, *, compiled: Collection[str]) -> dict[str, Callable[[], Tensor]]:
    """Return name -> call for the forward pass of an image in the ways that PyTorch offers; call in inference mode.

    Args:
        net: whose parameters they share.
        image: [N, C, H, W].
        compiled: of COMPILED and FROZEN, those that take part; each takes half a minute.
    """
    eager, last, image_last = twin(net, NCHW), twin(net, CHANNELS_LAST), in_layout(image, CHANNELS_LAST)
    rivals: dict[str, Callable[[], Tensor]] = {
        "eager NCHW": lambda: eager(image),
        "eager channels_last": lambda: last(image_last),
    }
    torch._dynamo.reset()
    if COMPILED in compiled:
        compiled_eager = torch.compile(eager)
        rivals[COMPILED] = lambda: compiled_eager(image)
    if FROZEN in compiled:
        compiled_last = torch.compile(last)
        # With the parameters as constants, which lets PyTorch pack the weights once and for all.
        with torch.inference_mode(), torch._inductor.config.patch(freezing=True):
            compiled_last(image_last)
        rivals[FROZEN] = lambda: compiled_last(image_last)
    return rivals


def direct_gflop(base: int, tile: int, *, training: bool = False) -> float:
    """Count the work of all convolutions of one image, forward or also backward, in 10^9 floating-point operations."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        scores = UNet(base=base, backend="torch", dropout=0.0)(torch.empty(1, 1, tile, tile))
        if training:
            scores.sum().backward()
    return counter.get_total_flops() / 1e9


def training_batch(tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a random image [1, 1, H, W], its classes and its weight map [1, H-184, W-184]."""
    generator = torch.Generator().manual_seed(0)
    side = tile - 184
    image = torch.randn((1, 1, tile, tile), generator=generator)
    classes = torch.randint(0, 2, (1, side, side), generator=generator)
    return image, classes, 10 * torch.rand((1, side, side), generator=generator)


def training_step(
    net: UNet, batch: tuple[Tensor, Tensor, Tensor], model: nn.Module | Callable[[Tensor], Tensor] | None = None
) -> Callable[[], tuple[Tensor, ...]]:
    """Return a call that takes one step as the paper does and returns the gradients, parameter by parameter.

    Args:
        net: to train.
        batch: image, classes and weights.
        model: what computes the scores with the parameters of `net`: default `net` itself, else a compiled form.
    """
    image, classes, weights = batch
    compute = net if model is None else model
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.99)

    def add_gradients() -> None:
        weighted_cross_entropy(compute(image), classes, weights, backend=net.backend).backward()

    def step() -> tuple[Tensor, ...]:
        with_threads_awake(add_gradients) if net.is_native_on_cpu else add_gradients()
        optimizer.step()
        gradients = tuple(parameter.grad for parameter in net.parameters() if parameter.grad is not None)
        optimizer.zero_grad(set_to_none=True)
        return gradients

    return step
