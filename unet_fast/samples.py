"""Training samples: a tile of a deformed image with its target classes and its weight map.

A sample is a pure function of (seed, epoch, index). The same lines run on the CPU and on CUDA, where the images lie on
the device from the start. What is random is drawn on the CPU, 136 bytes a sample, and goes there in one transfer a
batch; nothing waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from unet_fast.augment import random_warp
from unet_fast.config import TrainConfig
from unet_fast.data import IGNORED, LabelledImages, Normalization
from unet_fast.geometry import Sides, check_side
from unet_fast.ops import Warp, elastic_warp, target_classes, weight_map

# Cells this far outside the predicted part of a tile still count in its weight map, pixels.
_CONTEXT = 32
# Target class of pixels that belong to none; as in ops.target_classes.
_IGNORED_CLASS = 255


class Batch(NamedTuple):
    """One training step's input.

    Attributes:
        image: float32 [B, C, S, S] tiles, channels_last.
        classes: uint8 [B, s, s] target classes of the S - 184 central pixels, 255 ignored.
        weights: float32 [B, s, s] weight map.
    """

    image: Tensor
    classes: Tensor
    weights: Tensor


class Epoch(Dataset[Batch]):
    """The batches of one epoch, for torch's loader: `DataLoader(Epoch(sampler, 0), batch_size=None, num_workers=2)`.

    A batch is the same whichever worker makes it.

    Args:
        sampler: where the batches come from.
        number: of the epoch, from 0.
    """

    def __init__(self, sampler: "Sampler", number: int) -> None:
        self.sampler, self.number = sampler, number

    def __len__(self) -> int:
        return self.sampler.steps_per_epoch()

    def __getitem__(self, step: int) -> Batch:
        size = self.sampler.config.batch_size
        return self.sampler.batch(self.number, range(step * size, (step + 1) * size))


@dataclass(frozen=True)
class _Source:
    """One labelled image on the device."""

    image: Tensor  # [1, C, H, W] as read
    labels: Tensor  # [1, H, W], see packed_labels
    scale: Tensor  # float32 [C], of the normalisation
    offset: Tensor  # float32 [C]


class Sampler:
    """Draws batches from labelled images.

    Args:
        images: the training images.
        class_weight: float32 [K], w_c of the weight map.
        config: of the run.
        device: where the images are kept and samples are made.
        sides: of the network; default those of the U-Net of the configuration.

    Raises:
        ValueError: the tile is no legal input side.
    """

    def __init__(
        self,
        images: LabelledImages,
        class_weight: Tensor,
        config: TrainConfig,
        device: torch.device,
        sides: Sides | None = None,
    ) -> None:
        self.sides = sides or Sides.of(config.depth)
        check_side(config.tile, "tile", self.sides)
        self.config, self.class_weight = config, class_weight.to(device)
        self.has_classes = images.classes is not None
        self.sources = [_source(images, i, config, device) for i in range(len(images))]
        self.names = images.names
        self.sizes = [(int(source.image.shape[2]), int(source.image.shape[3])) for source in self.sources]

    def steps_per_epoch(self) -> int:
        """Return how many batches predict as many pixels as the images have."""
        predicted = self.config.batch_size * (self.config.tile - self.sides.border) ** 2
        return max(1, round(sum(height * width for height, width in self.sizes) / predicted))

    def batch(self, epoch: int, indices: Sequence[int]) -> Batch:
        """Make a batch of the samples with these numbers, counted from 0 within their epoch."""
        config = self.config
        margin = self.sides.border // 2
        context = min(_CONTEXT, margin)
        warp = random_warp(config.seed, epoch, indices, self.sizes, config.tile, config.augment, margin=margin)
        moved = warp._replace(source=torch.zeros_like(warp.source)).to(self.class_weight.device)
        images, labels = [], []
        for b, source in enumerate(self.sources[i] for i in warp.source.tolist()):
            image, label = elastic_warp(
                source.image,
                source.labels,
                Warp._make(None if field is None else field[b : b + 1] for field in moved),
                config.tile,
                order=config.augment.order,
                scale=source.scale,
                offset=source.offset,
                labels_margin=margin - context,
            )
            images.append(image)
            labels.append(label)
        return Batch(torch.cat(images), *self.target(torch.cat(labels), context))

    def target(self, labels: Tensor, cut: int = 0) -> tuple[Tensor, Tensor]:
        """Return classes uint8 and weights float32 [B, h, w] of packed labels, `cut` pixels smaller on each side."""
        config = self.config
        instances = (labels >> 8).int() if self.has_classes else labels
        classes = target_classes(instances, gap=config.gap, ignore_label=IGNORED)
        if self.has_classes:
            # A gap between touching objects of one class is background; all else keeps its class.
            own = (labels & 255).to(torch.uint8)
            classes = torch.where((classes == 0) & (instances > 0), torch.zeros_like(own), own)
        weights = weight_map(
            instances,
            self.class_weight,
            config.border,
            config.sigma,
            config.gap,
            ignore_label=IGNORED,
            classes=classes,
        )
        inner = (..., slice(cut, labels.shape[1] - cut), slice(cut, labels.shape[2] - cut))
        return classes[inner].contiguous(), weights[inner].contiguous()


def packed_labels(images: LabelledImages, index: int) -> Tensor:
    """Return the labels of an image as one map [1, H, W], so that one nearest-neighbour lookup warps them all.

    int32 instance ids; where there are several classes, int64 with 256 * instance + class, the class 255 where ignored.
    """
    instances = torch.as_tensor(images.instances[index])[None]
    if images.classes is None:
        return instances
    classes = torch.as_tensor(images.classes[index])[None].long()
    return instances.long() * 256 + torch.where(classes == IGNORED, _IGNORED_CLASS, classes)


def _source(images: LabelledImages, index: int, config: TrainConfig, device: torch.device) -> _Source:
    image = images.images[index]
    scale, offset = Normalization(config.normalization).scale_and_offset(image)
    return _Source(
        torch.as_tensor(image, device=device)[None],
        packed_labels(images, index).to(device),
        torch.as_tensor(scale, device=device),
        torch.as_tensor(offset, device=device),
    )
