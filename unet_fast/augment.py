"""Random parameters of the data augmentation (section 3.1 of the paper): what `ops.elastic_warp` does to each sample.

The paper asks for shift and rotation invariance and for robustness to deformations and grey value variations. A sample
is a pure function of (seed, epoch, index): each has its own counter-based generator (Philox), so that neither the
number of workers nor their order, neither a resumed run nor the device changes it.

They are drawn on the host: 31 numbers a sample, a tenth of a millisecond. What there is of random numbers per pixel,
the noise, `ops.elastic_warp` draws itself, from the key that stands among them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_fast.ops import Warp

# What a generator is for; a word of its counter, so that two uses never share numbers.
_SAMPLE, _ORDER_OF_IMAGES = 0, 1
# The random words of one sample, each with one meaning: what is switched off does not change the rest.
_ORIGIN, _FLIP, _ROT90, _ROTATION, _ZOOM, _SHIFT, _CONTRAST, _BRIGHTNESS, _DISPLACEMENT = 0, 2, 3, 4, 5, 6, 8, 9, 10
_GAMMA, _NOISE, _NOISE_KEY = _DISPLACEMENT + 18, _DISPLACEMENT + 19, _DISPLACEMENT + 20
_WORDS = _NOISE_KEY + 1


@dataclass
class AugmentConfig:
    """How training tiles are deformed.

    Args:
        enabled: off, only the place of the crop is random.
        elastic: standard deviation of the displacements on the 3x3 grid in pixels, 10 in the paper (whose tiles have
            572 pixels; a much smaller tile bears less); 0 switches them off.
        rotation: largest angle to either side in degrees. With the default 45 and right angles all orientations are
            equally likely, as the paper's rotation invariance asks.
        rot90: turn by 0, 90, 180 or 270 degrees.
        flip: mirror every other sample; with right angles that gives all 8 orientations of the tile.
        zoom: largest factor to enlarge or to shrink, at least 1; evenly spread on a logarithmic scale. Default 1 (off):
            the paper names no change of size.
        shift: largest shift along each axis in pixels, besides that of the random crop; default 0.
        contrast: largest factor to raise or to lower the contrast, at least 1; evenly spread on a logarithmic scale.
            Default 1.5, the limit of the slope in the grey value curves of the authors' released layers.
        brightness: largest change of the grey value in units of the normalised image; default 0.1.
        grey_centre: grey value of the normalised image that a change of contrast leaves alone; default 0.5, the middle
            of images that were normalised to 0 to 1.
        gamma: largest exponent of the normalised grey values, at least 1, and its inverse the smallest; evenly spread
            on a logarithmic scale. Default 1 (off).
        noise: largest standard deviation of normal noise in units of the normalised image; each sample has one between
            0 and this. Default 0 (off).
        order: interpolation of the image, "bilinear" or "cubic"; the paper leaves it open, bilinear is faster.
    """

    enabled: bool = True
    elastic: float = 10.0
    rotation: float = 45.0
    rot90: bool = True
    flip: bool = True
    zoom: float = 1.0
    shift: float = 0.0
    contrast: float = 1.5
    brightness: float = 0.1
    grey_centre: float = 0.5
    gamma: float = 1.0
    noise: float = 0.0
    order: Literal["bilinear", "cubic"] = "bilinear"

    def check(self) -> None:
        """Raise ValueError where a value is out of range."""
        for name, least in (
            ("elastic", 0),
            ("rotation", 0),
            ("shift", 0),
            ("brightness", 0),
            ("zoom", 1),
            ("contrast", 1),
            ("gamma", 1),
            ("noise", 0),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"augment: {name}: wanted a number of at least {least}, got {value}")
        if self.order not in {"bilinear", "cubic"}:
            raise ValueError(f"augment: order: wanted bilinear or cubic, got {self.order!r}")


def random_warp(
    seed: int,
    epoch: int,
    index: int | Sequence[int],
    image_sizes: Sequence[tuple[int, int]],
    size: int | tuple[int, int],
    config: AugmentConfig,
    *,
    margin: int = 92,
) -> Warp:
    """Draw the parameters of random samples.

    Samples i N to i N + N - 1 of an epoch show each of the N images once, in random order. The crop lies so that the
    network's output, which lacks `margin` pixels of the crop on each side, falls evenly anywhere in the image; its
    margin may reach outside. Where the image is smaller than the output, it is centred.

    Args:
        seed: of the run, 0 to 2^64 - 1.
        epoch: 0 to 2^64 - 1.
        index: of the sample within the epoch, 0 to 2^64 - 1, or B of them.
        image_sizes: (H, W) of each of the N images in pixels.
        size: of the crop in pixels, one number or (h, w).
        config: what is random, and how much.
        margin: pixels of the crop on each side that the network's output lacks; default 92, the paper's network.
            More than a crop has is taken as all but its centre.

    Returns:
        The warp of B samples (1 for a single index) on the CPU. Its grey change is the same for all channels.

    Raises:
        ValueError: a number is out of range or there is no image.
    """
    config.check()
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1 or margin < 0:
        raise ValueError(f"random_warp: size, margin: wanted at least 1 and 0 pixels, got {(height, width)}, {margin}")
    if not image_sizes:
        raise ValueError("random_warp: image_sizes: wanted at least one image")
    indices = list(index) if isinstance(index, Sequence) else [index]
    samples = len(indices)
    source = np.empty(samples, np.int64)
    origin = np.empty((samples, 2), np.int64)
    affine = np.empty((samples, 2, 3), np.float32)
    displacement = np.empty((samples, 2, 3, 3), np.float32)
    grey = np.empty((2, samples, 1), np.float32)
    gamma, noise, noise_key = np.empty(samples, np.float32), np.empty(samples, np.float32), np.empty(samples, np.int64)
    for b, i in enumerate(indices):
        words = _uniform(seed, epoch, i, _SAMPLE, _WORDS)
        cycle, position = divmod(i, len(image_sizes))
        source[b] = _order_of_images(seed, epoch, cycle, len(image_sizes))[position]
        origin[b] = _origin(words[_ORIGIN:], image_sizes[source[b]], (height, width), margin)
        affine[b] = _affine(words, (height, width), config)
        displacement[b] = _displacement(words[_DISPLACEMENT:], config)
        grey[:, b, 0] = _grey(words, config)
        gamma[b], noise[b] = _gamma_and_noise(words, config)
        noise_key[b] = int(words[_NOISE_KEY] * 2.0**53)
    arrays = (source, origin, affine, displacement, *grey, gamma, noise, noise_key)
    return Warp(*(torch.from_numpy(array) for array in arrays))


def identity_warp(origin: Tensor, source: Tensor | None = None) -> Warp:
    """Return the warp that only cuts crops out, as for validation: nothing is deformed, no grey value changes.

    Args:
        origin: [B, 2] int64, (y, x) of each crop's corner in image pixels; may lie outside the image.
        source: [B] int64, index of the image of each crop; None is the first image.

    Returns:
        The warp of B samples on the device of `origin`.
    """
    samples, device = len(origin), origin.device
    return Warp(
        source=torch.zeros(samples, dtype=torch.int64, device=device) if source is None else source,
        origin=origin,
        affine=torch.eye(2, 3, device=device).repeat(samples, 1, 1),
        displacement=torch.zeros(samples, 2, 3, 3, device=device),
        gain=torch.ones(samples, 1, device=device),
        bias=torch.zeros(samples, 1, device=device),
        gamma=torch.ones(samples, device=device),
        noise=torch.zeros(samples, device=device),
        noise_key=torch.zeros(samples, dtype=torch.int64, device=device),
    )


def _uniform(seed: int, epoch: int, index: int, purpose: int, count: int) -> NDArray[np.float64]:
    """Return `count` numbers in [0, 1) that depend on the arguments alone.

    From the generator's raw words: numpy promises that these never change, unlike its distributions.
    """
    for name, value in (("seed", seed), ("epoch", epoch), ("index", index)):
        if not 0 <= value < 1 << 64:
            raise ValueError(f"random_warp: {name}: wanted 0 to 2^64 - 1, got {value}")
    key, counter = np.array([seed, epoch], np.uint64), np.array([0, 0, index, purpose], np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(count)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


@lru_cache(maxsize=16)
def _order_of_images(seed: int, epoch: int, cycle: int, images: int) -> NDArray[np.int64]:
    return np.argsort(_uniform(seed, epoch, cycle, _ORDER_OF_IMAGES, images), kind="stable")


def _symmetric(word: float) -> float:
    """From [0, 1) to [-1, 1)."""
    return 2 * word - 1


def _origin(
    words: NDArray[np.float64], image_size: tuple[int, int], size: tuple[int, int], margin: int
) -> tuple[int, int]:
    corners = []
    for word, image_side, side in zip(words, image_size, size, strict=False):
        cut = min(margin, (side - 1) // 2)
        free = image_side - (side - 2 * cut)  # by so much the output may move
        corners.append((math.floor(word * (free + 1)) if free >= 0 else free // 2) - cut)
    return corners[0], corners[1]


def _affine(words: NDArray[np.float64], size: tuple[int, int], config: AugmentConfig) -> NDArray[np.float64]:
    """Return (A | t) that flips, turns by right angles, rotates and zooms about the crop's centre, and shifts."""
    linear, shift = np.eye(2), np.zeros(2)
    if config.enabled:
        if config.flip and words[_FLIP] < 0.5:
            linear = np.array([[1.0, 0.0], [0.0, -1.0]])
        if config.rot90:
            linear = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), int(4 * words[_ROT90])) @ linear
        angle = math.radians(config.rotation) * _symmetric(words[_ROTATION])
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = rotation @ linear * config.zoom ** _symmetric(words[_ZOOM])
        shift = config.shift * (2 * words[_SHIFT : _SHIFT + 2] - 1)
    centre = (np.array(size) - 1) / 2
    return np.column_stack([linear, centre - linear @ centre + shift])


def _displacement(words: NDArray[np.float64], config: AugmentConfig) -> NDArray[np.float64]:
    """Return normal displacements, [2, 3, 3] in pixels, by the Box-Muller transform of 18 uniform numbers."""
    if not config.enabled:
        return np.zeros((2, 3, 3))
    radius, angle = np.sqrt(-2 * np.log1p(-words[:9])), 2 * np.pi * words[9:18]
    return config.elastic * np.stack([radius * np.cos(angle), radius * np.sin(angle)]).reshape(2, 3, 3)


def _grey(words: NDArray[np.float64], config: AugmentConfig) -> tuple[float, float]:
    """Return gain and bias of the grey values."""
    if not config.enabled:
        return 1.0, 0.0
    gain = config.contrast ** _symmetric(words[_CONTRAST])
    return gain, config.grey_centre * (1 - gain) + config.brightness * _symmetric(words[_BRIGHTNESS])


def _gamma_and_noise(words: NDArray[np.float64], config: AugmentConfig) -> tuple[float, float]:
    """Return the exponent of the grey values and the standard deviation of the noise."""
    if not config.enabled:
        return 1.0, 0.0
    return config.gamma ** _symmetric(words[_GAMMA]), config.noise * words[_NOISE]
