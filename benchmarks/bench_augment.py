"""One training sample: draw the deformation, cut a deformed tile and its labels out of an image, change grey values.

Ours draws and does it in one pass. The same maps in plain PyTorch are one grid_sample for the image and one for the
labels, and give the same tile. MONAI and kornia draw their own, of the same kinds: what they make cannot be compared,
and neither can do without an elastic field of its own sort (MONAI: a coarse random grid, interpolated; kornia: noise on
every pixel, blurred with the deviation below).
"""

import pytest
import torch
import torch.nn.functional as F

from benchmarks import peers, rivals
from benchmarks.agreement import Agreement
from benchmarks.bench_elastic_warp import dense_field
from benchmarks.conftest import OURS
from benchmarks.instances import cells
from unet_fast import ops
from unet_fast.augment import AugmentConfig, random_warp

SIDE = 512  # pixels of the image
BLUR, KERNEL = 16.0, 63  # pixels: of kornia's field


def plain(image, labels, warp, size):
    """The same tile by grid_sample, whose coordinates are -1 to 1 and whose reflection needs no padding."""
    y, x = torch.arange(float(size))[:, None], torch.arange(float(size))
    a, field = warp.affine[0], dense_field(warp.displacement, (size, size))
    at = [a[c, 0] * y + a[c, 1] * x + a[c, 2] + field[c] + warp.origin[0, c] for c in (0, 1)]
    grid = torch.stack([2 / (SIDE - 1) * place - 1 for place in reversed(at)], dim=-1)[None]
    options = {"padding_mode": "reflection", "align_corners": True}
    tile = warp.gain[0] * F.grid_sample(image, grid, mode="bilinear", **options) + warp.bias[0]
    return tile, F.grid_sample(labels[None].float(), grid, mode="nearest", **options)[0].to(labels.dtype)


def monai(image, labels, size):
    from monai.transforms import (  # noqa: PLC0415
        Compose,
        Rand2DElasticd,
        RandAxisFlipd,
        RandRotate90d,
        RandScaleIntensityd,
        RandShiftIntensityd,
    )

    pipeline = Compose([
        Rand2DElasticd(
            ["image", "labels"],
            spacing=((size - 1) / 2,) * 2,
            magnitude_range=(0, 10),
            spatial_size=size,
            prob=1,
            rotate_range=torch.pi / 4,
            translate_range=SIDE / 4,
            mode=["bilinear", "nearest"],
            padding_mode="reflection",
        ),
        RandRotate90d(["image", "labels"], prob=0.75),
        RandAxisFlipd(["image", "labels"], prob=0.5),
        RandScaleIntensityd("image", factors=0.5, prob=1),
        RandShiftIntensityd("image", offsets=0.1, prob=1),
    ])  # fmt: skip

    def call():
        sample = pipeline({"image": image[0], "labels": labels})
        return sample["image"][None], sample["labels"]

    return call


def kornia(image, labels, size):
    import kornia.augmentation as K  # noqa: PLC0415

    pipeline = K.AugmentationSequential(
        K.RandomElasticTransform((KERNEL, KERNEL), (BLUR, BLUR), (1.0, 1.0), padding_mode="reflection", p=1.0),
        K.RandomAffine(45.0, translate=(0.25, 0.25), padding_mode="reflection", p=1.0),
        K.RandomRotation90((0, 3), p=1.0),
        K.RandomHorizontalFlip(p=0.5),
        K.ColorJiggle(brightness=0.1, contrast=0.5, p=1.0),
        K.CenterCrop(size),
        data_keys=["input", "mask"],
        extra_args={},
    )
    whole, mask = image.expand(1, 3, -1, -1), labels[None].float()  # its grey values are colours

    def call():
        tile, target = pipeline(whole, mask)
        return tile[:, :1], target[0]

    return call


def differences(ours, other):
    """The mean difference of the tiles of grey values 0 to 1; infinite where a label in a hundred differs."""
    agreed = (ours[1] == other[1]).float().mean()
    return float((ours[0] - other[0]).abs().mean()) if agreed > 0.99 else float("inf")


@pytest.mark.parametrize("size", [316, 508])
def test_augment(compare, quick, size):
    image = torch.rand((1, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    image, labels, config = F.avg_pool2d(image, 5, 1, 2), cells(60, SIDE), AugmentConfig()

    def draw():
        return random_warp(0, 0, 0, [(SIDE, SIDE)], size, config)

    calls = {
        OURS: lambda: ops.elastic_warp(image, labels, draw(), size),
        "grid_sample": lambda: plain(image, labels, draw(), size),
    }
    if not quick:
        compiled = rivals.compiled(plain)
        calls["grid_sample, torch.compile"] = lambda: compiled(image, labels, draw(), size)
    if peers.installed("MONAI"):
        calls["MONAI"] = monai(image, labels, size)
    if peers.installed("kornia"):
        calls["kornia"] = kornia(image, labels, size)
    compare(
        calls,
        group="augmentation pipeline",
        agreement=Agreement("mean grey difference of 1, labels 99 % equal", 1e-4, differences),
        exceptions={name: None for name in ("MONAI", "kornia") if name in calls},
        gbyte=4 * 4 * size**2 / 1e9,  # of image and labels what the tile shows is read, the tile written
    )
