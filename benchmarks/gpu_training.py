"""Training as a whole on a GPU: tiles a second from the images to the moved weights, ours against PyTorch's own means.

    python -m benchmarks.gpu_training --out FOLDER [--batch 1 4] [--workers 12]

Ours is `unet_fast.train`: samples made on the device, a step as one CUDA graph. PyTorch's is the same network in
channels_last under autocast to bfloat16 and torch.compile, a fused optimiser, and a DataLoader whose workers make the
samples by this package's CPU operators, which flatters it. Beside the tiles a second stands the busy share: the time of
steps on a batch that lies on the device already, by the time of steps from the images on. Results: training.json and a
table. Verified so far on a machine without a GPU alone.
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.networks import CHANNELS_LAST, in_layout
from unet_fast.config import TrainConfig
from unet_fast.data import LabelledImages, synthetic_cells
from unet_fast.loss import class_balance
from unet_fast.model import UNet
from unet_fast.reference import weighted_cross_entropy
from unet_fast.samples import Batch, Epoch, Sampler
from unet_fast.trainer import Trainer
from unet_fast.trainer.optimization import make_optimizer

WARM_UP = 5
Step = Callable[[Batch], Tensor]


def ours(config: TrainConfig, images: LabelledImages, folder: Path) -> tuple[Step, Iterator[Batch]]:
    """Return what `unet_fast.train` does to a batch, and its batches."""
    trainer = Trainer(config, images, folder)
    size, numbers = config.batch_size, itertools.count()

    def step(batch: Batch) -> Tensor:
        return trainer.step.take([batch], [list(range(size))], config.lr, next(numbers))

    return step, (trainer.sampler.batch(0, range(i * size, (i + 1) * size)) for i in itertools.count())


def pytorch(config: TrainConfig, images: LabelledImages, workers: int, compiles: bool) -> tuple[Step, Iterator[Batch]]:
    """Return the same by PyTorch's own means."""
    device = torch.device(config.device)
    weight = class_balance(torch.as_tensor(images.class_pixels()))
    sampler = Sampler(images, weight, config, torch.device("cpu"))
    net = UNet(base=config.base, backend="torch").to(device, memory_format=CHANNELS_LAST)
    compute = torch.compile(net) if compiles else net
    optimizer = make_optimizer(net, config)

    def step(batch: Batch) -> Tensor:
        image, classes, weights = (part.to(device, non_blocking=True) for part in batch)
        with torch.autocast(device.type, torch.bfloat16):
            scores = compute(in_layout(image, CHANNELS_LAST))
        loss = weighted_cross_entropy(scores.float(), classes, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    pinned = device.type == "cuda"
    epochs = (
        DataLoader(Epoch(sampler, i), batch_size=None, num_workers=workers, pin_memory=pinned)
        for i in itertools.count()
    )
    return step, itertools.chain.from_iterable(epochs)


def seconds(step: Step, batches: Iterator[Batch], steps: int) -> float:
    """Return the time of a step, the mean over many; the device has finished when the clock is read."""
    for batch in itertools.islice(batches, WARM_UP):
        loss = step(batch)
    float(loss)
    start = time.perf_counter()
    for batch in itertools.islice(batches, steps):
        loss = step(batch)
    float(loss)
    return (time.perf_counter() - start) / steps


def measure(name: str, step: Step, batches: Iterator[Batch], config: TrainConfig, steps: int) -> dict[str, Any]:
    """Time steps from the images on, and on a batch that lies there."""
    whole = seconds(step, batches, steps)
    device = torch.device(config.device)
    batch = Batch(*(part.to(device) for part in next(batches)))
    alone = seconds(step, itertools.repeat(batch), steps)
    row = {"name": name, "batch": config.batch_size, "seconds": whole, "tiles_per_second": config.batch_size / whole}
    row["busy"] = min(1.0, alone / whole)
    print(f"{name}, batch {config.batch_size}: {row['tiles_per_second']:.1f} tiles/s, busy {100 * row['busy']:.0f} %")
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return Markdown."""
    lines = ["| training | batch | ms a step | tiles/s | busy |", "|---|--:|--:|--:|--:|"]
    for row in rows:
        milliseconds, busy = 1e3 * row["seconds"], 100 * row["busy"]
        cells = f"{row['batch']} | {milliseconds:.2f} | {row['tiles_per_second']:.1f} | {busy:.0f} %"
        lines.append(f"| {row['name']} | {cells} |")
    return lines


def main() -> int:
    """Run what the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, default=12, help="of PyTorch's DataLoader")
    parser.add_argument(
        "--quick", action="store_true", help="a small network, to see that all of it runs, even on a CPU"
    )
    options = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    config = TrainConfig(base=64, tile=572, device="cuda" if has_gpu else "cpu")
    images, steps, workers = synthetic_cells(16, 512), options.steps, options.workers
    if options.quick:
        config = replace(config, base=2, tile=188)
        images, steps, workers = synthetic_cells(4, 96), 2, 0
    rows = []
    for batch in options.batch:
        config = replace(config, batch_size=batch)
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure("unet_fast", *ours(config, images, Path(folder)), config, steps))
        for compiles in (False,) if options.quick else (False, True):
            name = f"PyTorch, autocast{' and compile' if compiles else ''}, {workers} workers"
            rows.append(measure(name, *pytorch(config, images, workers, compiles), config, steps))
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"gpu": torch.cuda.get_device_name() if has_gpu else None, "training": rows}
    (options.out / "training.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "training.md").write_text("\n".join(table(rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
