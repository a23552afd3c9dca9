"""The numbers that a network computes with; weights, loss, optimiser and probabilities stay in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "bf16", "fp16"]
PrecisionChoice = Literal["auto", "float32", "tf32", "bf16", "fp16"]
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(choice: PrecisionChoice, device: torch.device, backend: str) -> Precision:
    """Return a precision; "auto" is bf16 on CUDA from Ampere (compute capability 8) on, else float32.

    Raises:
        ValueError: the device or the backend cannot compute in it.
    """
    if choice not in ("auto", *DTYPES):
        raise ValueError(f"precision: wanted auto, {', '.join(DTYPES)}, got {choice}")
    if choice == "auto":
        ampere = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
        return "bf16" if ampere else "float32"
    if choice == "tf32" and device.type != "cuda":
        raise ValueError(f"precision: tf32 is a mode of CUDA devices, got device {device}")
    if choice == "fp16" and device.type == "cuda" and backend == "native":
        raise ValueError("precision: the native operators have no fp16 on CUDA: give bf16, or --backend torch")
    return choice


def set_tf32(allowed: bool) -> None:
    """Tell torch whether its own operators on CUDA may compute float32 in TF32."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Within this context torch's own operators on CUDA compute float32 in TF32, or do not."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    set_tf32(allowed)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def set_deterministic(deterministic: bool) -> None:
    """Tell torch whether its own operators on CUDA must give the same bits each time."""
    if deterministic != torch.are_deterministic_algorithms_enabled():  # setting it loads half of torch
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps small gradients of fp16 above zero; it does nothing for the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
