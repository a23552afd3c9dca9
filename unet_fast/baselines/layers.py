"""What the baselines share: convolutions drawn as the U-Net's, and the checks of arguments and images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unet_fast.dropout import Seeds
from unet_fast.geometry import Sides, check_side


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """Return a valid convolution with weights from N(0, 2/N), N = incoming connections of a unit, and bias 0."""
    conv = nn.Conv2d(inputs, outputs, kernel)
    nn.init.normal_(conv.weight, std=(2 / (inputs * kernel**2)) ** 0.5)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class Baseline(nn.Module):
    """A network that maps an image to class scores, as the trainer, prediction and model files know it.

    Attributes:
        kind: its name on the command line.
        maps_per_channel: float32 maps of the tile's size, per channel of `base`, that prediction needs at once.
        sides: which sides it reads, and what they become.
        is_native_on_cpu: False, as PyTorch's operators compute it.
    """

    kind: ClassVar[str]
    maps_per_channel: ClassVar[float]
    is_native_on_cpu: ClassVar[bool] = False

    def __init__(self, sides: Sides, channels: int, classes: int, base: int) -> None:
        super().__init__()
        for name, value, least in (("channels", channels, 1), ("classes", classes, 2), ("base", base, 1)):
            if value < least:
                raise ValueError(f"{name}: wanted at least {least}, got {value}")
        self.sides, self.channels, self.classes, self.base = sides, channels, classes, base

    @property
    def settings(self) -> dict[str, Any]:
        """What the class has to be called with to build this network again."""
        return {"channels": self.channels, "classes": self.classes, "base": self.base}

    @contextmanager
    def packed_weights(self, dtype: torch.dtype = torch.float32) -> Iterator[None]:
        """Do nothing: PyTorch's autocast converts the weights itself."""
        yield

    def forward(self, image: Tensor, dropout_seeds: Seeds = None, softmax: bool = False) -> Tensor:
        """Compute the class scores of an image, or their probabilities; see the class for shapes.

        Args:
            image: [N, C, H, W]; bfloat16 and float16 are computed in, though parameters are float32.
            dropout_seeds: N numbers, 0 to 2^63 - 1, or int64 [N] of them; the dropout of an image then depends on its
                own alone. None takes torch's generator.
            softmax: whether to return probabilities, float32, instead of scores.
        """
        self.check(image)
        lower = image.dtype in (torch.bfloat16, torch.float16)
        with torch.autocast(image.device.type, image.dtype if lower else torch.bfloat16, enabled=lower):
            scores = self.scores(image, dropout_seeds)
        return scores.float().softmax(1) if softmax else scores

    def scores(self, image: Tensor, dropout_seeds: Seeds) -> Tensor:
        """Compute the class scores of an image that was checked."""
        raise NotImplementedError

    def check(self, image: Tensor) -> None:
        """Raise ValueError where an image [N, C, H, W] does not suit the network."""
        if image.dim() != 4 or image.shape[1] != self.channels:
            raise ValueError(f"image: wanted shape [N, {self.channels}, H, W], got {list(image.shape)}")
        for side in image.shape[-2:]:
            check_side(side, "image", self.sides)

    def extra_repr(self) -> str:
        """Return what the network was built with."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
