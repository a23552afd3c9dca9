"""conv_relu in plain PyTorch."""

import torch.nn.functional as F
from torch import Tensor


def conv_relu(x: Tensor, weight: Tensor, bias: Tensor, *, relu: bool = True, algorithm: str = "auto") -> Tensor:
    """Convolve with a 3x3 kernel, add the bias and take the positive part; see `unet_fast.ops.conv_relu`.

    PyTorch chooses its algorithm itself.
    """
    y = F.conv2d(x, weight, bias)
    return F.relu(y) if relu else y
