"""Say what is installed and what it will use: `python -m unet_fast.info`."""

import platform
import sys

import torch

from unet_fast import __version__
from unet_fast.ops import build_info


def describe() -> dict[str, str]:
    """Return versions, the instruction set in use, whether CUDA is compiled and usable, and the number of threads."""
    build = build_info()
    if not build.cuda_architectures:
        cuda = "not compiled: no nvcc was found when this package was built"
    elif not torch.cuda.is_available():
        cuda = (
            f"compiled for {build.cuda_architectures}; not usable here: torch {torch.__version__} finds no CUDA device"
        )
    else:
        major, minor = torch.cuda.get_device_capability()
        cuda = f"compiled for {build.cuda_architectures}; in use: {torch.cuda.get_device_name()} (sm_{major}{minor})"
    return {
        "unet_fast": __version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "compiled module": build.path,
        "CPU kernels": f"{build.instruction_set} in use, of {', '.join(build.instruction_sets)}",
        "bfloat16 on the CPU": "computed in float32",
        "CPU threads": f"{torch.get_num_threads()} (torch.set_num_threads changes them)",
        "CUDA kernels": cuda,
    }


def main() -> int:
    """Run the command line; returns the exit status."""
    facts = describe()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
