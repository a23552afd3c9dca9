"""The U-Net of Ronneberger, Fischer and Brox (2015), whole and fast."""

import pkgutil
from typing import TYPE_CHECKING, Any

from unet_fast._version import __version__

if TYPE_CHECKING:
    from unet_fast.model import UNet as UNet

# Run from the root of a checkout, Python imports ./unet_fast, which holds no compiled module after a plain
# `pip install .`. Looking on along sys.path finds the installed one.
__path__ = pkgutil.extend_path(__path__, __name__)

__all__ = ["UNet", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the network when it is asked for: `unet_fast.UNet` without torch at `import unet_fast`."""
    if name == "UNet":
        from unet_fast.model import UNet  # noqa: PLC0415

        return UNet
    raise AttributeError(f"module 'unet_fast' has no attribute {name!r}")
