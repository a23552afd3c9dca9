"""The numbers that the network computes with; weights, loss and optimiser stay in float32."""

from typing import Literal

import torch

from unet_fast.config import TrainConfig

Precision = Literal["float32", "tf32", "bf16", "fp16"]
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(config: TrainConfig, device: torch.device) -> Precision:
    """Return the precision of a run; "auto" is bf16 on CUDA from Ampere (compute capability 8) on, else float32.

    Raises:
        ValueError: the device or the backend cannot compute in it.
    """
    if config.precision == "auto":
        ampere = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
        return "bf16" if ampere else "float32"
    if config.precision == "tf32" and device.type != "cuda":
        raise ValueError(f"precision: tf32 is a mode of CUDA devices, got device {device}")
    if config.precision == "fp16" and device.type == "cuda" and config.backend == "native":
        raise ValueError("precision: the native operators have no fp16 on CUDA: give bf16, or --backend torch")
    return config.precision


def apply_settings(config: TrainConfig, precision: Precision) -> None:
    """Tell torch what these settings mean for its own operators on CUDA: TF32 or not, deterministic or not."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if config.deterministic != torch.are_deterministic_algorithms_enabled():  # setting it loads half of torch
        torch.use_deterministic_algorithms(config.deterministic)
    torch.backends.cudnn.benchmark = not config.deterministic


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps small gradients of fp16 above zero; it does nothing for the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
