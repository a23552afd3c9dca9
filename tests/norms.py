"""How far a result is from what it should be."""

import torch
from torch import Tensor


def relative_l2(got: Tensor, wanted: Tensor) -> float:
    """|got - wanted| / |wanted| in the Euclidean norm, computed in float64; the shapes must agree."""
    assert got.shape == wanted.shape
    got, wanted = got.detach().double().cpu(), wanted.detach().double().cpu()
    norm = wanted.norm().item()
    return (got - wanted).norm().item() / (norm if norm > 0 else 1.0)


def random_tensor(
    shape: tuple[int, ...], generator: torch.Generator, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Standard normal numbers, the same for every device; 4-d tensors lie in channels_last memory."""
    tensor = torch.randn(shape, generator=generator).to(dtype).to(device)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
