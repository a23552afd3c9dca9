"""Bring images of any dtype and exposure to one range: out = scale * image + offset, for each image and channel.

The two numbers are all that `ops.mirror_tiles` and `ops.elastic_warp` need: the image itself stays as stored. They
are taken from whole images, never from tiles, or the seams of the tiles would show.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unet_fast.data.images import Image
from unet_fast.data.order_statistics import Blocks, percentiles

Kind = Literal["percentile", "zscore", "dtype", "none"]


@dataclass(frozen=True)
class Normalization:
    """How images are normalised; stored with a model, so that prediction repeats it.

    Attributes:
        kind: "percentile" maps two percentiles of each channel to 0 and 1; "zscore" makes mean 0 and standard
            deviation 1; "dtype" divides whole numbers by the largest of their dtype; "none" leaves all as it is.
        low: percentile that becomes 0; 1 by default: a few dead pixels do not count.
        high: percentile that becomes 1; 99.8 by default: nor does a little bright dirt.
    """

    kind: Kind = "percentile"
    low: float = 1.0
    high: float = 99.8

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"normalization: kind: wanted {', '.join(get_args(Kind))}, got {self.kind!r}")
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"normalization: wanted 0 <= low < high <= 100, got {self.low} and {self.high}")

    def scale_and_offset(self, image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the two numbers for each channel of an image.

        A channel of one value becomes 0 under "percentile" and "zscore".

        Args:
            image: [C, H, W] uint8, uint16 or float32.

        Returns:
            scale: [C] float32.
            offset: [C] float32, in units of the normalised image.
        """
        if image.ndim != 3 or image.size == 0:
            raise ValueError(f"normalization: image: wanted shape [C, H, W], got {list(image.shape)}")
        return self.streamed_scale_and_offset(lambda: [image], len(image), image.dtype)

    def streamed_scale_and_offset(
        self, blocks: Callable[[], Iterable[Image]], channels: int, dtype: np.dtype[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what `scale_and_offset` returns for an image that is read block by block.

        Args:
            blocks: each call yields all pixels of the image in blocks [C, h, w]; it is called up to twice.
            channels: C.
            dtype: of the blocks: uint8, uint16 or float32.
        """

        def of_channel(channel: int) -> Blocks:
            return lambda: (block[channel] for block in blocks())

        # [C, 2]: what becomes 0, and what becomes 1
        span = np.array([self._range(of_channel(channel), dtype) for channel in range(channels)])
        width = span[:, 1] - span[:, 0]
        scale = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
        return scale.astype(np.float32), (-span[:, 0] * scale).astype(np.float32)

    def apply(self, image: Image) -> NDArray[np.float32]:
        """Return the normalised image, [C, H, W] float32: what the operators compute while they gather pixels."""
        scale, offset = self.scale_and_offset(image)
        return image.astype(np.float32) * scale[:, None, None] + offset[:, None, None]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Normalization":
        """Make it from the settings that `to_dict` returned.

        Raises:
            ValueError: a setting is unknown or wrong.
        """
        unknown = set(settings) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"normalization: unknown setting {', '.join(sorted(unknown))}")
        return cls(**settings)

    def _range(self, blocks: Blocks, dtype: np.dtype[Any]) -> tuple[float, float]:
        if self.kind == "none":
            return 0.0, 1.0
        if self.kind == "dtype":
            return 0.0, float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0
        if self.kind == "zscore":
            return _mean_and_one_deviation_above(blocks)
        low, high = percentiles(blocks, (self.low, self.high))
        return (low, high) if low < high else percentiles(blocks, (0, 100))


def _mean_and_one_deviation_above(blocks: Blocks) -> tuple[float, float]:
    """Sum in two passes, in float64: the mean first, then the squares of what differs from it."""
    count, total = 0, 0.0
    for block in blocks():
        count += block.size
        total += float(block.sum(dtype=np.float64))
    mean = total / count
    squares = sum(float(np.square(block.astype(np.float64) - mean).sum()) for block in blocks())
    return mean, mean + float(np.sqrt(squares / count))
