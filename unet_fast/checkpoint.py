"""Model files for sharing and checkpoints for going on, both loaded without executing code.

`model.safetensors` holds the weights and, in its header, everything that prediction needs: the network's shape, how
images are normalised, what the classes mean. A checkpoint holds the state of a training run.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from unet_fast.atomic_write import atomic_write
from unet_fast.data import LabelKind, Normalization
from unet_fast.model import Backend, UNet
from unet_fast.networks import Network, build

_FORMAT = "unet_fast model 1"
_CHECKPOINT_FORMAT = "unet_fast checkpoint 2"


@dataclass
class Model:
    """A network with what is needed to use it.

    Attributes:
        net: the network.
        normalization: what its images go through first.
        labels: "instances" where the network separates touching objects, "mask" for plain foreground, "classes".
        class_names: one name per class, background first.
    """

    net: Network
    normalization: Normalization
    labels: LabelKind = "instances"
    class_names: tuple[str, ...] = ("background", "foreground")


def save_model(path: Path, model: Model) -> None:
    """Write a model file (.safetensors), whole or not at all."""
    header = {
        "format": _FORMAT,
        "network": model.net.kind,
        "net": model.net.settings,
        "normalization": model.normalization.to_dict(),
        "labels": model.labels,
        "class_names": list(model.class_names),
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in model.net.state_dict().items()}
    with atomic_write(path) as temporary:
        safetensors.torch.save_file(weights, temporary, metadata={"unet_fast": json.dumps(header)})


def load_model(path: str | os.PathLike[str], backend: Backend = "native") -> Model:
    """Read a model file, or the one in a run folder.

    Raises:
        FileNotFoundError: there is no model there.
        ValueError: the file is not a model file of this package, or damaged.
    """
    folder = Path(path)
    file = folder / "model.safetensors" if folder.is_dir() else folder
    if not file.is_file():
        raise FileNotFoundError(f"model: wanted a run folder with model.safetensors, or such a file, got {path}")
    try:
        with safetensors.safe_open(file, "pt") as opened:
            header = json.loads((opened.metadata() or {}).get("unet_fast", "{}"))
        if header.get("format") != _FORMAT:
            raise ValueError(f"its header says {header.get('format')!r} instead of {_FORMAT!r}")
        net = build(header.get("network", UNet.kind), header["net"], backend)
        net.load_state_dict(safetensors.torch.load_file(file))
        normalization = Normalization.from_dict(header["normalization"])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"model: {file} is not a model file of unet_fast, or damaged: {error}") from error
    return Model(net.eval(), normalization, header["labels"], tuple(header["class_names"]))


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write the state of a run (tensors, numbers, strings, lists and dicts of them), whole or not at all."""
    with atomic_write(path) as temporary:
        torch.save({"format": _CHECKPOINT_FORMAT, **state}, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read the state of a run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is not a checkpoint of this package, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"resume: wanted a checkpoint at {path}, found none")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise ValueError(f"resume: {path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(state, dict) or state.get("format") != _CHECKPOINT_FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"resume: {path} is not a checkpoint of this version: wanted {_CHECKPOINT_FORMAT!r}, got {found!r}"
        )
    return state
