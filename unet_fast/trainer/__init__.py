"""The training loop and its parts."""

from unet_fast.trainer.trainer import Trainer

__all__ = ["Trainer"]
