"""Other packages that the benchmarks compare with; what is not installed is left out, and the report says so."""

from importlib.metadata import packages_distributions, version
from importlib.util import find_spec

# Name -> module; `pip install ".[bench]"` installs them all.
MODULES = {
    "kornia": "kornia",
    "MONAI": "monai",
    "OpenCV": "cv2",
    "py-ctcmetrics": "ctc_metrics",
    "scikit-image": "skimage",
}


def installed(name: str) -> bool:
    """Return whether a peer can be compared with."""
    return find_spec(MODULES[name]) is not None


def versions() -> str:
    """Return the versions of the peers, and which are missing."""
    found = packages_distributions()
    return ", ".join(
        f"{name} {version(found[module][0])}" if installed(name) else f"{name} left out: not installed"
        for name, module in MODULES.items()
    )
