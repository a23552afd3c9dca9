"""The networks that can be trained, by name: the U-Net and the baselines of the paper.

What the trainer, prediction and model files ask of each: `kind`, `channels`, `classes`, `base`, `sides` (which sides it
reads, and what they become), `settings` (to build it again), `maps_per_channel`, `is_native_on_cpu`, `packed_weights`
and `forward(image, dropout_seeds, softmax)`.
"""

from typing import Any

from unet_fast.baselines import FCN8s, FCN16s, FCN32s, SlidingWindow
from unet_fast.baselines.layers import Baseline
from unet_fast.config import TrainConfig
from unet_fast.model import Backend, UNet

Network = UNet | Baseline
NETWORKS: dict[str, type[UNet] | type[Baseline]] = {
    network.kind: network for network in (UNet, SlidingWindow, FCN8s, FCN16s, FCN32s)
}


def make_network(config: TrainConfig, channels: int, classes: int) -> Network:
    """Build the network of a run, with new weights.

    Raises:
        ValueError: a setting is out of range, or this network has no such thing.
    """
    shape: dict[str, Any] = {"channels": channels, "classes": classes, "base": config.base}
    if config.model == "unet":
        net = UNet(**shape, depth=config.depth, variant=config.variant, backend=config.backend, dropout=config.dropout)
        net.gradient_checkpointing = config.gradient_checkpointing
        return net
    if config.gradient_checkpointing:
        raise ValueError(f"gradient_checkpointing: wanted --model unet, which alone has it, got {config.model}")
    if config.model == "sliding_window":
        return SlidingWindow(**shape, window=config.window)
    return build(config.model, shape | {"dropout": config.dropout})


def build(kind: str, settings: dict[str, Any], backend: Backend = "native") -> Network:
    """Build a network from its `kind` and `settings`.

    Raises:
        KeyError: there is no such network.
    """
    network = NETWORKS[kind]
    return network(**settings, backend=backend) if issubclass(network, UNet) else network(**settings)
