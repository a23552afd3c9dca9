"""Thin networks, images and commands for the tests of prediction."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from unet_fast.checkpoint import Model, save_model
from unet_fast.data import Normalization
from unet_fast.model import UNet

ROOT = Path(__file__).parents[1]


def direct_net(channels=1, classes=2, depth=2):
    """Return a network of so few channels that all its sums are taken directly: its bits do not depend on the tile."""
    torch.manual_seed(4)  # finds both classes in noise
    return UNet(channels, classes, base=2, depth=depth).eval()


def save(folder, net, labels="instances", normalization=None):
    folder.mkdir()
    save_model(folder / "model.safetensors", Model(net, normalization or Normalization(), labels))
    return folder


def noise(shape, dtype=np.uint16):
    return np.random.default_rng(0).integers(0, 1000 if dtype == np.uint16 else 250, shape).astype(dtype)


def command(*arguments, launcher=()):
    return [sys.executable, "-m", *launcher, "unet_fast.predict", *map(str, arguments)]


def start(arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(arguments, env=environment, cwd=ROOT, text=True, **options)
