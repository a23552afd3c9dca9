"""`unet-fast COMMAND` and `python -m unet_fast COMMAND`: the commands under one name."""

import sys
from importlib import import_module

COMMANDS = {
    "train": "train a network",
    "predict": "segment images with it",
    "evaluate": "score a segmentation against the truth",
    "info": "say what is installed and what it will use",
}


def main() -> int:
    """Run the command that the first argument names; returns the exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        print("usage: unet-fast COMMAND [--help] ...\n")
        for command, what in COMMANDS.items():
            print(f"  {command:<9} {what}")
        return 0 if name in ("", "-h", "--help") else 2
    del sys.argv[1]
    sys.argv[0] = f"unet-fast {name}"
    status: int = import_module(f"unet_fast.{name}").main()
    return status


if __name__ == "__main__":
    sys.exit(main())
