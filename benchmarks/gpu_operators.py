"""The operators that memory bounds, on a GPU: each against a reference, then timed against the bytes that it must move.

    python -m benchmarks.gpu_operators --out FOLDER [--batch 8] [--side 2048]

For each of gpu_operator_cases.py the relative L2 error against float64, or against the CPU's operator where both must
have the same bits; the median time of a call inside a CUDA graph; the bytes that any implementation must read and write
at least, as GB/s and as a share of what copying memory reaches on this GPU; and the time of PyTorch's own operators for
the same, where there are such. Calls rotate through inputs of 200 MB in all, so that they come from memory and not from
a cache. Results: operators.json and a table; the exit status is 1 where a result is wrong.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_layers import Call, median_seconds
from benchmarks.gpu_operator_cases import Case, augmentation, first_layer, head, loss, tiling, unpooling
from benchmarks.gpu_results import write_results
from tests.norms import relative_l2

ROTATED_BYTES, MAX_INPUTS = 200e6, 10


def copy_rate(size: int) -> float:
    """Return the bytes per second, read and written, of copying memory."""
    source, target = torch.zeros(size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8)

    def copy() -> tuple[Tensor, ...]:
        return (target.copy_(source),)

    return 2 * size / median_seconds(copy)


def rotating(calls: list[Call]) -> Call:
    """Return a call that runs the given ones in turn."""
    turns = itertools.cycle(calls)

    def call() -> tuple[Tensor, ...]:
        return next(turns)()

    return call


def row_of(inputs: list[Case], rate: float) -> dict[str, Any]:
    """Check and time an operator."""
    case = inputs[0]
    with torch.no_grad():
        first, second, wanted = case.ours(), case.ours(), case.exact()
        error = max(relative_l2(a, b) for a, b in zip(first, wanted, strict=True))
        seconds = median_seconds(rotating([one.ours for one in inputs]))
    peers = [one.peer for one in inputs if one.peer]
    row = {
        "operator": case.name,
        "bytes": case.bytes,
        "inputs": len(inputs),
        "error": error,
        "passes": error <= case.bound and all(torch.equal(a, b) for a, b in zip(first, second, strict=True)),
        "seconds": seconds,
        "gbyte_per_s": 1e-9 * case.bytes / seconds,
        "share_of_copy": case.bytes / seconds / rate,
        "torch_seconds": median_seconds(rotating(peers)) if peers else None,
    }
    print(*table([row])[2:], flush=True)
    return row


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return Markdown."""
    lines = ["| operator | MB | error | us | GB/s | share of copy | torch, us | torch / ours |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        us, torch_us = 1e6 * row["seconds"], 1e6 * (row["torch_seconds"] or math.nan)
        peer = f"{torch_us:.1f} | {torch_us / us:.2f}" if row["torch_seconds"] else "- | -"
        lines.append(
            f"| {row['operator']} | {1e-6 * row['bytes']:.1f} | {row['error']:.1e}{'' if row['passes'] else ' WRONG'}"
            f" | {us:.1f} | {row['gbyte_per_s']:.0f} | {row['share_of_copy']:.0%} | {peer} |"
        )
    return lines


def main() -> int:
    """Run what the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=8, help="images of 572 pixels in the network's operators")
    parser.add_argument("--side", type=int, default=2048, help="pixels of the large image")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that all of it runs, even on a CPU")
    options = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    batch, side, tile, output = (1, 96, 36, 20) if options.quick else (options.batch, options.side, 572, 388)
    groups: list[Callable[[int], Iterator[Case]]] = [
        lambda _: first_layer(batch, tile),
        lambda _: head(batch, output),
        lambda _: unpooling(batch, tile - 4),
        lambda _: loss(batch, output),
        lambda seed: augmentation(side, seed),
        lambda _: tiling(side),
    ]
    rows = []
    with torch.device("cuda" if has_gpu else "cpu"):
        torch.manual_seed(0)
        rate = copy_rate(1 << (16 if options.quick else 29))
        print(f"copying memory: {1e-9 * rate:.0f} GB/s", flush=True)
        for group in groups:
            least = min(case.bytes for case in group(0))
            count = 1 if options.quick else min(MAX_INPUTS, math.ceil(ROTATED_BYTES / least))
            rows += [row_of(list(inputs), rate) for inputs in zip(*map(group, range(count)), strict=True)]
    return write_results(options.out, "operators", rows, table(rows), {"copy_bytes_per_s": rate})


if __name__ == "__main__":
    sys.exit(main())
