"""The U-Net of Ronneberger, Fischer and Brox (2015), whole and fast."""

import pkgutil

from unet_fast._version import __version__

# Run from the root of a checkout, Python imports ./unet_fast, which holds no compiled module after a plain
# `pip install .`. Looking on along sys.path finds the installed one.
__path__ = pkgutil.extend_path(__path__, __name__)

__all__ = ["__version__"]
