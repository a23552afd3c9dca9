"""The numbers that a network computes with; weights, loss, optimiser and probabilities stay in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Precision = Literal["float32", "tf32", "bf16", "fp16"]
PrecisionChoice = Literal["auto", "float32", "tf32", "bf16", "fp16"]
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SWITCHES: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]


def choose_precision(choice: PrecisionChoice, device: torch.device) -> Precision:
    """Return a precision; "auto" is bf16 on CUDA from Ampere (compute capability 8) on, else float32.

    Raises:
        ValueError: there is no such precision, or the device cannot compute in it.
    """
    if choice not in ("auto", *DTYPES):
        raise ValueError(f"precision: wanted auto, {', '.join(DTYPES)}, got {choice}")
    if choice == "auto":
        ampere = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
        return "bf16" if ampere else "float32"
    if choice == "tf32" and device.type != "cuda":
        raise ValueError(f"precision: tf32 is a mode of CUDA devices, got device {device}")
    return choice


def set_tf32(allowed: bool) -> None:
    """Tell torch, and the operators of this package with it, whether CUDA may round the factors of float32 to TF32."""
    for switch in _SWITCHES:
        switch.fp32_precision = "tf32" if allowed else "ieee"


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Within this context CUDA may round the factors of float32 to TF32, or not; see `set_tf32`."""
    before = [switch.fp32_precision for switch in _SWITCHES]
    set_tf32(allowed)
    try:
        yield
    finally:
        for switch, value in zip(_SWITCHES, before, strict=True):
            switch.fp32_precision = value


def set_deterministic(deterministic: bool) -> None:
    """Tell torch whether its own operators on CUDA must give the same bits each time."""
    if deterministic != torch.are_deterministic_algorithms_enabled():  # setting it loads half of torch
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps small gradients of fp16 above zero; it does nothing for the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
