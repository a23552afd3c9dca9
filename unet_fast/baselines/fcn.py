"""The fully convolutional networks of Long, Shelhamer and Darrell (2015): FCN-32s, FCN-16s and FCN-8s.

The encoder of VGG-16 with its fully connected layers as convolutions, class scores at 1/32 of the resolution, and
learned up-sampling; 16s and 8s add the scores of finer layers on the way. Long et al. pad the image by 100 zero pixels
and every convolution by one. Here all convolutions are valid and the image is mirrored beyond its border, as for the
U-Net: the same strides and the same field of view of 404 pixels, and a tile predicts what the whole image would.

A layer of stride s is up-sampled by a kernel of 2s, which joins two neighbours: n scores become (n - 1) s.
Where in the finer layer they lie follows from the pixels that a score is centred on:

    pool3      21.5 +  8 j                            score      201.5 + 32 j    up-sampled by 2:  209.5 + 16 j
    pool4      49.5 + 16 j    its 10th is 209.5       fused      209.5 + 16 j    up-sampled by 2:  213.5 +  8 j
                              pool3's 24th is 213.5   fused      213.5 +  8 j    up-sampled by 8:  214   +    j
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unet_fast.baselines.layers import Baseline, convolution
from unet_fast.dropout import Seeds, drop
from unet_fast.geometry import Sides

# VGG-16: 3x3 convolutions of each level, and their channels in multiples of the first level's.
_CONVOLUTIONS = (2, 2, 3, 3, 3)
_WIDTHS = (1, 2, 4, 8, 8)
_HIDDEN = 64  # fc6 and fc7: 4096 channels at base 64
_SKIPPED = {16: (3, 10), 8: (2, 24)}  # stride -> level whose pooled result is scored, its first score that is added


class _FCN(Baseline):
    stride: ClassVar[int]
    maps_per_channel = 3.5

    def __init__(self, channels: int = 1, classes: int = 2, base: int = 64, dropout: float = 0.5) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: wanted a probability in [0, 1), got {dropout}")
        # The result ends half a pixel before the centres of the outermost scores; see the table above for the stride 8.
        sides = Sides(f"an FCN-{self.stride}s", border=436 - self.stride, grid=32, remainder=20)
        super().__init__(sides, channels, classes, base)
        self.dropout = dropout
        widths = [base * width for width in _WIDTHS]
        self.levels = nn.ModuleList()
        for inputs, outputs, count in zip([channels, *widths], widths, _CONVOLUTIONS, strict=False):
            convolutions = [convolution(outputs if i else inputs, outputs, 3) for i in range(count)]
            self.levels.append(nn.ModuleList(convolutions))
        self.fc6 = convolution(widths[-1], _HIDDEN * base, 7)
        self.fc7 = convolution(_HIDDEN * base, _HIDDEN * base, 1)
        self.head = convolution(_HIDDEN * base, classes, 1)
        self.skips = nn.ModuleDict()
        self.ups = nn.ModuleDict()
        for stride in [s for s in _SKIPPED if s >= self.stride]:
            # Long et al. let them begin at zero, on top of a net that was trained at stride 32 before. Trained from
            # nothing, the fine layers must not wait for the coarse ones.
            self.skips[str(stride)] = convolution(widths[_SKIPPED[stride][0]], classes, 1)
            self.ups[str(stride)] = _up_sampling(classes, 2)
        self.last_up = _up_sampling(classes, self.stride)

    @property
    def settings(self) -> dict[str, Any]:
        """What the class has to be called with to build this network again."""
        return super().settings | {"dropout": self.dropout}

    def scores(self, image: Tensor, dropout_seeds: Seeds) -> Tensor:
        """Compute the class scores of an image that was checked."""
        x, pooled = image, []
        for level in self.levels:
            for conv in level:  # type: ignore[attr-defined]
                x = F.relu(conv(x))
            x = F.max_pool2d(x, 2)
            pooled.append(x)
        for place, conv in enumerate((self.fc6, self.fc7)):
            x = drop(F.relu(conv(x)), self.dropout, self.training, dropout_seeds, place)
        x = self.head(x)
        for stride, score in self.skips.items():
            x = self.ups[stride](x)
            level_index, first = _SKIPPED[int(stride)]
            height, width = x.shape[-2:]
            x = x + score(pooled[level_index][..., first : first + height, first : first + width])
        return self.last_up(x)  # type: ignore[no-any-return]


class FCN32s(_FCN):
    """FCN-32s: scores at 1/32 of the resolution, up-sampled in one step.

    Args:
        channels: of the image, default 1.
        classes: of the result, default 2.
        base: feature channels of the first level, 64 in VGG-16; fc6 and fc7 have 64 times as many.
        dropout: probability after fc6 and fc7, 0.5 as in VGG-16.

    Shape:
        [N, C, H, W] -> [N, K, H - 404, W - 404], scores before the softmax. Legal sides are 32k + 20 from 436 on;
        `sides` computes them.

    Raises:
        ValueError: an argument is out of range, or the input's size is illegal (the message names the nearest ones).
    """

    kind = "fcn32s"
    stride = 32


class FCN16s(_FCN):
    """FCN-16s: scores of the fourth level added at 1/16; arguments as for FCN32s, the result is 420 pixels smaller."""

    kind = "fcn16s"
    stride = 16


class FCN8s(_FCN):
    """FCN-8s: scores of the fourth and third level added; arguments as for FCN32s, the result is 428 pixels smaller."""

    kind = "fcn8s"
    stride = 8


def _up_sampling(classes: int, factor: int) -> nn.ConvTranspose2d:
    """Return an up-sampling [N, K, n, m] -> [N, K, (n-1) factor, (m-1) factor], bilinear at first."""
    up = nn.ConvTranspose2d(classes, classes, 2 * factor, stride=factor, padding=factor, bias=False)
    places = (torch.arange(2 * factor) + 0.5) / factor - 1  # of the kernel's values, in scores
    hat = 1 - places.abs()
    with torch.no_grad():
        up.weight.zero_()
        for k in range(classes):
            up.weight[k, k] = hat[:, None] * hat
    return up
