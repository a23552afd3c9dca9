"""The patch classifier of Ciresan et al. (2012), winner of the ISBI challenge before the U-Net.

Each pixel is classified by a small network that sees nothing but a square window around it. Pixel by pixel that repeats
almost all of its work, for neighbouring windows overlap: "quite slow", says section 1 of the paper. `slide` does so.
`forward` computes the same scores densely: each layer runs once over the whole image. A pooling keeps every pixel,
as the corner of a 2x2 window; the layers behind it take every second one of their input, behind the next pooling every
fourth, and so on (dilation). Fragments (Giusti et al. 2013) are the same sums in another order, slower in PyTorch.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unet_fast.baselines.layers import Baseline, convolution
from unet_fast.dropout import Seeds
from unet_fast.geometry import Sides

# Kernels of the convolutions, each followed by a 2x2 max-pooling; all sides come out even before they are pooled.
# 95 is network N4 of the paper: 95 -> 92 | 46 -> 42 | 21 -> 18 | 9 -> 6 | 3, then two fully connected layers. The
# smaller ones are cut down in the same manner: 65 -> 62 | 31 -> 28 | 14 -> 10 | 5 and 33 -> 30 | 15 -> 12 | 6 -> 4 | 2.
KERNELS = {33: (4, 4, 3), 65: (4, 4, 5), 95: (4, 5, 4, 4)}
_BASE, _HIDDEN = 48, 200  # of N4: channels of every convolution, units of the fully connected layer


class SlidingWindow(Baseline):
    """A network that classifies the centre of a window, applied to every pixel.

    Args:
        channels: of the image, default 1.
        classes: of the result, default 2.
        base: channels of each convolution, 48 in Ciresan's N4. Its fully connected layer has 200 units; other widths
            scale them alike.
        window: side of the window in pixels: 95 as in N4 (default), 65 or 33.

    Shape:
        [N, C, H, W] -> [N, K, H - window + 1, W - window + 1], scores before the softmax. Every side from `window` on
        is legal.

    Raises:
        ValueError: an argument is out of range, or the input is smaller than the window.
    """

    kind = "sliding_window"
    maps_per_channel = 6.0

    def __init__(self, channels: int = 1, classes: int = 2, base: int = _BASE, window: int = 95) -> None:
        if window not in KERNELS:
            raise ValueError(f"window: wanted one of {', '.join(map(str, KERNELS))} pixels, got {window}")
        sides = Sides(f"a sliding window of {window} pixels", border=window - 1, grid=1, remainder=0)
        super().__init__(sides, channels, classes, base)
        self.window = window
        side = window
        self.convolutions = nn.ModuleList()
        for inputs, kernel in zip([channels, *[base] * len(KERNELS[window])], KERNELS[window], strict=False):
            self.convolutions.append(convolution(inputs, base, kernel))
            side = (side - kernel + 1) // 2
        # Fully connected layers, as convolutions whose kernel covers all that is left of a window.
        self.hidden = convolution(base, max(1, round(base * _HIDDEN / _BASE)), side)
        self.head = convolution(self.hidden.out_channels, classes, 1)

    @property
    def settings(self) -> dict[str, Any]:
        """What the class has to be called with to build this network again."""
        return super().settings | {"window": self.window}

    def scores(self, image: Tensor, dropout_seeds: Seeds) -> Tensor:
        """Compute the scores of all pixels of an image that was checked, at once; there is no dropout."""
        x, step = image.contiguous(memory_format=torch.channels_last), 1
        for conv in self.convolutions:
            x = F.relu(_dilated(conv, x, step))
            x = F.max_pool2d(x, 2, stride=1, dilation=step)
            step *= 2
        return self.head(F.relu(_dilated(self.hidden, x, step)))  # type: ignore[no-any-return]

    def classify(self, patches: Tensor) -> Tensor:
        """Compute the scores of single windows: [P, C, window, window] -> [P, K]."""
        if patches.shape[1:] != (self.channels, self.window, self.window):
            wanted = [self.channels, self.window, self.window]
            raise ValueError(f"patches: wanted shape [P, {', '.join(map(str, wanted))}], got {list(patches.shape)}")
        x = patches
        for conv in self.convolutions:
            x = F.max_pool2d(F.relu(conv(x)), 2)
        return self.head(F.relu(self.hidden(x))).flatten(1)  # type: ignore[no-any-return]

    def slide(self, image: Tensor, batch: int = 256) -> Tensor:
        """Compute what `forward` computes window by window, as Ciresan did: `batch` windows at a time."""
        self.check(image)
        height, width = (side - self.sides.border for side in image.shape[-2:])
        windows = image.unfold(2, self.window, 1).unfold(3, self.window, 1)  # [N, C, H, W, window, window], a view
        ys, xs = torch.arange(height * width).div(width, rounding_mode="floor"), torch.arange(height * width) % width
        scores = [
            self.classify(windows[n, :, y, x].transpose(0, 1))
            for n in range(len(image))
            for y, x in zip(ys.split(batch), xs.split(batch), strict=True)
        ]
        return torch.cat(scores).view(len(image), height, width, self.classes).permute(0, 3, 1, 2)


def _dilated(conv: nn.Module, x: Tensor, step: int) -> Tensor:
    """Convolve with the kernel's taps `step` pixels apart."""
    assert isinstance(conv, nn.Conv2d)
    return F.conv2d(x, conv.weight, conv.bias, dilation=step)
