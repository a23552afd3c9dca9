"""Small runs for tests of training: a network and a set of images that train within seconds."""

from dataclasses import replace

import numpy as np
import tifffile
import torch

from unet_fast.checkpoint import load_checkpoint
from unet_fast.data import synthetic_cells, write_labels

# 5 images of 80 pixels, of which one is held back: 4 steps an epoch.
TINY = ["--base", "4", "--depth", "2", "--tile", "116"]
STEPS_PER_EPOCH = 4
# Ways to move the weights; "everything" takes a step in two parts.
FLAVOURS = {
    "paper": [],
    "modern": ["--preset", "modern"],
    "everything": [
        "--optimizer",
        "adam",
        "--ema",
        "0.9",
        "--warmup",
        "3",
        "--weight_decay",
        "0.01",
        "--batch_size",
        "2",
        "--accumulate",
        "2",
    ],
    "fp16": ["--precision", "fp16", "--backend", "torch"],
}


def write_cells(folder, count=5, size=80):
    """Write images and instance labels, in folders."""
    cells = synthetic_cells(count, size, seed=3)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i, (image, labels) in enumerate(zip(cells.images, cells.instances, strict=True)):
        tifffile.imwrite(folder / "images" / f"{i}.tif", image[0])
        write_labels(folder / "masks" / f"{i}.tif", labels)
    return folder


def bright_cells(count):
    """Cells that are brighter than their surroundings, under noise: learned within seconds."""
    drawn = synthetic_cells(count, 192, seed=1)
    noise = np.random.default_rng(0)
    images = [(90 + 80 * (labels > 0) + noise.normal(0, 40, labels.shape))[None] for labels in drawn.instances]
    return replace(drawn, images=[image.clip(0, 255).astype(np.uint8) for image in images])


def write_classes(folder, dtypes=(np.uint8,), ignore=None, channels=1):
    """Write images of several sizes and their class labels: 0, 1 for dark and 2 for bright squares, in pieces."""
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(5):
        size = 70 + 6 * i, 90 - 5 * i
        labels = np.zeros(size, np.uint8)
        for kind in (1, 2, 1, 2, 1, 2):
            y, x = random.integers(0, size[0] - 16), random.integers(0, size[1] - 16)
            labels[y : y + 14, x : x + 14] = kind
        dtype = dtypes[i % len(dtypes)]
        top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
        pixels = (0.5 + 0.3 * np.array([0, -1, 1])[labels] + 0.05 * random.standard_normal(size)).clip(0, 1) * top
        if ignore is not None:
            labels[:12] = ignore
        stack = np.stack([pixels] * channels, -1) if channels > 1 else pixels
        tifffile.imwrite(
            folder / "images" / f"{i}.tif", stack.astype(dtype), photometric="rgb" if channels == 3 else None
        )
        tifffile.imwrite(folder / "masks" / f"{i}.tif", labels)
    return folder


def weights(folder, name="checkpoint_last.pt"):
    return load_checkpoint(folder / name)["net"]


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
