"""Start from the weights of a model that was trained on something else."""

from pathlib import Path

from unet_fast.checkpoint import load_model
from unet_fast.networks import Network


def start_from(net: Network, path: Path) -> str:
    """Copy the weights of a model where they fit; those that another number of channels or classes shapes stay new.

    Args:
        net: to train; changed in place.
        path: run folder or model.safetensors file.

    Returns:
        What was kept and what is new, in a sentence.

    Raises:
        FileNotFoundError: there is no model.
        ValueError: it is no model file, or of another network.
    """
    model = load_model(path)
    if model.net.kind != net.kind:
        wanted, got = model.net.kind, net.kind
        raise ValueError(f"init: {path} has the network {wanted}, this run {got}: give --model {wanted}")
    for name in net.settings.keys() - {"channels", "classes", "dropout"}:
        wanted, got = model.net.settings[name], net.settings[name]
        if wanted != got:
            raise ValueError(f"init: {path} has {name} {wanted}, this run {got}: give --{name} {wanted}")
    found, own = model.net.state_dict(), net.state_dict()
    fits = {name: value for name, value in found.items() if value.shape == own[name].shape}
    net.load_state_dict(fits, strict=False)
    new = [name for name in own if name not in fits]
    changes = [
        f"{getattr(model.net, name)} -> {getattr(net, name)} {name}"
        for name in ("channels", "classes")
        if getattr(model.net, name) != getattr(net, name)
    ]
    kept = f"init: {len(fits)} of {len(own)} tensors are those of {path}"
    return f"{kept}; new, for {' and '.join(changes)}: {', '.join(new)}" if new else kept
