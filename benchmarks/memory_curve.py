"""Show that memory stays flat while a large image is segmented: `python -m benchmarks.memory_curve`.

Makes a synthetic image of cells on disk, runs the command `unet_fast.predict` on it with a thin network, notes the
resident memory of that process every half second, and draws the curve over the time of the run. The numbers stand in a
JSON file beside the picture.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import tifffile
import torch

from unet_fast.checkpoint import Model, save_model
from unet_fast.data import Normalization, synthetic_cells
from unet_fast.model import UNet

mpl.use("Agg")
import matplotlib.pyplot as plt


def smoothing_network(base, depth):
    """Return a network whose layers take means: it finds objects of the size of cells where the image is bright."""
    net = UNet(base=base, depth=depth)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            inputs = len(parameter) if name.startswith("up.") else parameter[0].numel()
            parameter.fill_(1 / inputs if parameter.dim() == 4 else 0)
        net.head.weight[0] = 0
        net.head.bias[1] = -0.53  # an intensity between cells and background
    return net


def write_image(path, side):
    """Write a tiled, compressed TIFF of the same cells again and again; never more than a tile in memory."""
    cells = np.rint(synthetic_cells(1, 512).images[0][0].astype(np.float32))
    tile = (255 * (cells - cells.min()) / np.ptp(cells)).astype(np.uint8)
    across = (side + 511) // 512
    tiles = (tile for _ in range(across * across))
    tifffile.imwrite(path, tiles, shape=(side, side), dtype=np.uint8, tile=(512, 512), compression="zlib", bigtiff=True)


def resident_megabytes(process):
    """Return what a process holds, in 10^6 bytes: pages of files that it maps count, too."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS:")), None)


def watch(command):
    """Run a command; return seconds and megabytes, twice a second."""
    start, seconds, megabytes = time.monotonic(), [], []
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            held = resident_megabytes(process.pid)
            if held:
                seconds.append(time.monotonic() - start)
                megabytes.append(held)
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"the command failed: {process.returncode}")
    return seconds, megabytes


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[4000, 8000, 16000, 30000], help="pixels per side of the images"
    )
    parser.add_argument("--base", type=int, default=2, help="channels of the network's first level")
    parser.add_argument("--depth", type=int, default=2, help="of the network")
    parser.add_argument("--tile", type=int, default=1040, help="of depth 2: 1000 pixels of the result")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("memory_curve.png"))
    options = parser.parse_args()
    named = [f"--{name} {getattr(options, name)}" for name in ("base", "depth", "tile", "threads")]
    sides = " ".join(map(str, options.sides))
    record = {"command": f"python -m benchmarks.memory_curve --sides {sides} {' '.join(named)}"}
    record |= {"machine": platform.platform(), "torch": torch.__version__, "curves": []}
    folder = Path(tempfile.mkdtemp(dir=options.output.absolute().parent))
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    try:
        net = smoothing_network(options.base, options.depth)
        save_model(folder / "model.safetensors", Model(net, Normalization(), "instances"))
        for side in options.sides:
            write_image(folder / f"{side}.tif", side)
            command = [sys.executable, "-m", "unet_fast.predict", "-i", folder / f"{side}.tif", "-o", folder / "out"]
            command += ["-m", folder, "--tile", options.tile, "--threads", options.threads]
            seconds, megabytes = watch([str(part) for part in command])
            curve = {"side": side, "seconds": np.round(seconds, 1).tolist(), "megabytes": np.round(megabytes).tolist()}
            record["curves"].append(curve)
            options.output.with_suffix(".json").write_text(json.dumps(record))
            share = np.array(seconds) / seconds[-1]
            axes.plot(
                100 * share, megabytes, label=f"{side} x {side}: {seconds[-1]:.0f} s, peak {max(megabytes):.0f} MB"
            )
            print(f"{side} x {side}: {seconds[-1]:.0f} s, peak {max(megabytes):.0f} MB")
    finally:
        shutil.rmtree(folder)
    axes.set(xlabel="share of the run, %", ylabel="resident memory, MB", ylim=(0, None))
    axes.set_title("python -m unet_fast.predict, read from and written to disk")
    axes.legend(frameon=False)
    figure.savefig(options.output, dpi=150)
    print(f"the curve is in {options.output}")


if __name__ == "__main__":
    main()
