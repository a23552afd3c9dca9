"""The systems that the paper compares the U-Net with, in plain PyTorch, trained and used by the same commands."""

from unet_fast.baselines.fcn import FCN8s, FCN16s, FCN32s
from unet_fast.baselines.sliding_window import SlidingWindow

__all__ = ["FCN8s", "FCN16s", "FCN32s", "SlidingWindow"]
