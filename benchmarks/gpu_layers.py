"""The convolutions of the paper's network on a GPU: every path against float64, then timed against PyTorch.

    python -m benchmarks.gpu_layers --out FOLDER [--batch 1] [--seconds 120]

For each 3x3 layer at its place in the network (with the skip that it reads and the pool behind it), each algorithm and
each direction: the relative L2 error against float64, whether two runs give the same bits, and the median time of a
call inside a CUDA graph, beside PyTorch's bfloat16 convolution (channels_last, cudnn.benchmark) with the bias, ReLU,
concatenation or pool that ours has in one pass. Then the whole network, forward and forward with backward, against
eager PyTorch and torch.compile, all in CUDA graphs.

The floor of a layer is its work at --peak-tflops. A graph repeats one call with the same tensors, so small layers find
them in the second-level cache, ours and PyTorch's alike. Results: layers.json and a table; the exit status is 1 where a
result is wrong. Where --seconds are over, the remaining layers are named as left out.
"""

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.networks import direct_gflop, network, twin
from tests.norms import relative_l2
from unet_fast import ops

# C of x, C of the skip, O, side of the input in pixels, whether a pool follows
LAYERS = [
    *[(64, 0, 64, 570, True), (64, 0, 128, 284, False), (128, 0, 128, 282, True), (128, 0, 256, 140, False)],
    *[(256, 0, 256, 138, True), (256, 0, 512, 68, False), (512, 0, 512, 66, True), (512, 0, 1024, 32, False)],
    *[(1024, 0, 1024, 30, False), (512, 512, 512, 56, False), (512, 0, 512, 54, False), (256, 256, 256, 104, False)],
    *[(256, 0, 256, 102, False), (128, 128, 128, 200, False), (128, 0, 128, 198, False), (64, 64, 64, 392, False)],
    (64, 0, 64, 390, False),
]
ERROR_BOUND = 4e-3  # two roundings to bfloat16
Call = Callable[[], tuple[Tensor, ...]]


def median_seconds(call: Call, calls: int = 10, replays: int = 7) -> float:
    """Return the median time of a call: in a CUDA graph of several, or, on the CPU, of one."""
    if not torch.cuda.is_available():
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # what a first call allocates and chooses is no part of the graph
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for _ in range(calls):
            call()
    times = []
    for _ in range(replays + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3 / calls)
    return statistics.median(times[1:])


def native(x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor | None, pools: bool, algorithm: str) -> Call:
    """Return ours, forward."""
    packed = ops.pack_conv_relu(weight) if weight.is_cuda else None
    if pools:
        return lambda: ops.conv_relu_pool(x, weight, bias, algorithm=algorithm, packed=packed)
    return lambda: (ops.conv_relu(x, weight, bias, skip=skip, algorithm=algorithm, packed=packed),)


def plain(x: Tensor, weight: Tensor, bias: Tensor, skip: Tensor | None, pools: bool) -> tuple[Tensor, ...]:
    """Compute the same in PyTorch."""
    y = F.conv2d(x if skip is None else torch.cat([x, skip], dim=1), weight, bias).relu()
    return (y, F.max_pool2d(y, 2)) if pools else (y,)


def gradients(x: Tensor, weight: Tensor, skip: Tensor | None, grad: Tensor, algorithm: str, of: str) -> Call:
    """Return ours, backward: `of` is "data" or "weight"."""
    needs = [of == "data", of == "weight", of == "weight"]
    backward = torch.ops.unet_fast.conv_relu_backward
    return lambda: tuple(t for t in backward(grad, None, x, weight, needs, algorithm, skip) if t.numel())


def plain_gradients(x: Tensor, weight: Tensor, skip: Tensor | None, grad: Tensor, of: str) -> tuple[Tensor, ...]:
    """Compute the same in PyTorch, in the order of ours."""
    both = x if skip is None else torch.cat([x, skip], dim=1)
    zeros, mask = [0, 0], [of == "data", of == "weight", of == "weight"]
    found = torch.ops.aten.convolution_backward(
        grad, both, weight, [weight.shape[0]], [1, 1], zeros, [1, 1], False, zeros, 1, mask
    )
    if of == "weight":
        return found[1], found[2]
    return (found[0],) if skip is None else found[0].split([x.shape[1], skip.shape[1]], dim=1)


def rows_of(layer: tuple[int, int, int, int, bool], batch: int, algorithms: list[str]) -> list[dict[str, Any]]:
    """Check and time one layer."""
    c, s, o, side, pools = layer

    def random(*size: int) -> Tensor:
        return torch.randn(size, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)

    x, skip = random(batch, c, side, side).relu(), random(batch, s, side, side).relu() if s else None
    weight, bias = random(o, c + s, 3, 3) * (2 / (9 * (c + s))) ** 0.5, torch.randn(o, dtype=torch.bfloat16)
    grad = random(batch, o, side - 2, side - 2)
    exact = [t if t is None else t.double() for t in (x, weight, skip, grad)]
    rows = []
    for direction in ("forward", "data", "weight"):
        if direction == "forward":
            wanted = plain(exact[0], exact[1], bias.double(), exact[2], pools)
            torch_call = functools.partial(plain, x, weight, bias, skip, pools)
        else:
            wanted = plain_gradients(*exact, direction)
            torch_call = functools.partial(plain_gradients, x, weight, skip, grad, direction)
        with torch.inference_mode():
            torch_seconds = median_seconds(torch_call)
        for algorithm in algorithms:
            if direction == "forward":
                call = native(x, weight, bias, skip, pools, algorithm)
            else:
                call = gradients(x, weight, skip, grad, algorithm, direction)
            with torch.inference_mode():
                first, second = call(), call()
                row = {
                    "layer": f"{c}{f'+{s}' if s else ''} -> {o}, {side}{' pool' if pools else ''}",
                    "batch": batch,
                    "direction": direction,
                    "algorithm": algorithm,
                    "error": max(relative_l2(a, b) for a, b in zip(first, wanted, strict=True)),
                    "same_bits": all(torch.equal(a, b) for a, b in zip(first, second, strict=True)),
                    "tflop": 2e-12 * 9 * (c + s) * o * batch * (side - 2) ** 2,
                    "seconds": median_seconds(call),
                    "torch_seconds": torch_seconds,
                }
            row["passes"] = row["error"] <= ERROR_BOUND and row["same_bits"]
            rows.append(row)
    return rows


def network_rows(batch: int, base: int, tile: int) -> list[dict[str, Any]]:
    """Time the whole network in bfloat16: forward, and forward with backward."""
    device = torch.get_default_device()
    image = torch.randn(batch, 1, tile, tile, dtype=torch.bfloat16)
    with torch.device("cpu"):
        ours, peer = network(base), twin(network(base), torch.channels_last)
    ours, peer = ours.to(device).eval(), peer.to(device).eval()
    compiled = torch.compile(peer) if torch.cuda.is_available() else peer
    rows = []
    for name, net in (("unet_fast", ours), ("eager", peer), ("torch.compile", compiled)):

        @torch.inference_mode()
        def forward(net: Callable[[Tensor], Tensor] = net) -> tuple[Tensor, ...]:
            return (net(image),)

        def both(net: Any = net) -> tuple[Tensor, ...]:
            scores = net(image).float()
            return torch.autograd.grad(scores.square().mean(), list(net.parameters()))

        for direction, call in (("forward", forward), ("forward + backward", both)):
            packs = net is ours and direction == "forward"
            with torch.inference_mode(packs), ours.packed_weights(torch.bfloat16) if packs else nullcontext():
                seconds = median_seconds(call, calls=2)
            tflop = direct_gflop(base, tile, training=direction != "forward") * batch / 1e3
            rows.append({"network": name, "batch": batch, "direction": direction, "seconds": seconds, "tflop": tflop})
            print(f"network {name}, batch {batch}, {direction}: {1e3 * seconds:.3f} ms", flush=True)
    return rows


def table(rows: list[dict[str, Any]], peak_tflops: float) -> list[str]:
    """Return Markdown."""
    lines = ["| layer | batch | direction | algorithm | error | us | floor, us | TFLOP/s | torch, us | torch / ours |"]
    lines.append("|---|--:|---|---|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        floor, us, torch_us = 1e6 * row["tflop"] / peak_tflops, 1e6 * row["seconds"], 1e6 * row["torch_seconds"]
        lines.append(
            f"| {row['layer']} | {row['batch']} | {row['direction']} | {row['algorithm']} | {row['error']:.1e}"
            f"{'' if row['passes'] else ' WRONG'} | {us:.1f} | {floor:.1f} | {row['tflop'] / row['seconds']:.0f}"
            f" | {torch_us:.1f} | {torch_us / us:.2f} |"
        )
    return lines


def main() -> int:
    """Run what the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=120.0, help="after which no further layer is begun")
    parser.add_argument(
        "--peak-tflops", type=float, default=790.0, help="of bfloat16, for the floors; 790 is an H200's"
    )
    parser.add_argument("--quick", action="store_true", help="small sides, to see that all of it runs, even on a CPU")
    parser.add_argument("--skip-networks", action="store_true")
    options = parser.parse_args()
    start, has_gpu = time.monotonic(), torch.cuda.is_available()
    torch.backends.cudnn.benchmark = True
    algorithms = ["direct"]
    if has_gpu:
        algorithms = (["wgmma"] if torch.cuda.get_device_capability() == (9, 0) else []) + ["mma", "direct"]
    rows: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    with torch.device("cuda" if has_gpu else "cpu"):
        torch.manual_seed(0)
        for batch in options.batch:
            for layer in LAYERS:
                if time.monotonic() - start > options.seconds:
                    print(f"left out for lack of time: batch {batch}, {layer}")
                    continue
                c, s, o, _, pools = layer
                small = (c // 8, s // 8, o // 8, 18 if pools else 17, pools)
                rows += rows_of(small if options.quick else layer, batch, algorithms)
                print(*table(rows[-3 * len(algorithms) :], options.peak_tflops)[2:], sep="\n", flush=True)
            if not options.skip_networks:
                networks += network_rows(batch, 8 if options.quick else 64, 188 if options.quick else 572)
    options.out.mkdir(parents=True, exist_ok=True)
    result = {"gpu": torch.cuda.get_device_name() if has_gpu else None, "layers": rows, "networks": networks}
    (options.out / "layers.json").write_text(json.dumps(result, indent=1) + "\n")
    (options.out / "layers.md").write_text("\n".join(table(rows, options.peak_tflops)) + "\n")
    wrong = [row for row in rows if not row["passes"]]
    print(f"{len(rows)} results, {len(wrong)} wrong; written to {options.out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
