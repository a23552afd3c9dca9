"""The convolutions of the paper's network on a GPU: every path against float64, then timed against PyTorch.

    python -m benchmarks.gpu_layers --out FOLDER [--batch 1] [--seconds 120] [--autotune]

For each 3x3 layer at its place in the network (with the skip that it reads and the pool behind it) and each up-conv,
each dtype, each algorithm and each direction: the relative L2 error against float64, whether two runs give the same
bits, and the median time of a call inside a CUDA graph, beside PyTorch's convolution in the same dtype (channels_last,
cudnn.benchmark, float32 in TF32) with the bias, ReLU, concatenation or pool that ours has in one pass. "mma" of
float32, and an up-conv of it, is TF32. Then the whole network in bfloat16, forward and forward with backward, against
eager PyTorch and torch.compile, all in CUDA graphs. float16 and float32 are computed at the first batch only. With
--autotune torch.compile tries many kernels for each layer, which takes minutes: a run of its own, with --seconds 0.

The floor of a layer is its work at --peak-tflops, whatever its dtype. A graph repeats one call with the same tensors,
so small layers find them in the second-level cache, ours and PyTorch's alike. Results: layers.json and a table; the
exit status is 1 where a result is wrong. Where --seconds are over, the remaining layers are named as left out.
"""

import argparse
import functools
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_results import write_results
from benchmarks.networks import direct_gflop, network, twin
from tests.norms import relative_l2
from unet_fast import ops


class Layer(NamedTuple):
    """A 3x3 convolution, or an up-conv; `side` is that of its input in pixels, `pools` whether a pool follows."""

    is_up: bool
    channels: int
    skip: int
    outputs: int
    side: int
    pools: bool


CONVOLUTIONS = [
    *[(64, 0, 64, 570, True), (64, 0, 128, 284, False), (128, 0, 128, 282, True), (128, 0, 256, 140, False)],
    *[(256, 0, 256, 138, True), (256, 0, 512, 68, False), (512, 0, 512, 66, True), (512, 0, 1024, 32, False)],
    *[(1024, 0, 1024, 30, False), (512, 512, 512, 56, False), (512, 0, 512, 54, False), (256, 256, 256, 104, False)],
    *[(256, 0, 256, 102, False), (128, 128, 128, 200, False), (128, 0, 128, 198, False), (64, 64, 64, 392, False)],
    (64, 0, 64, 390, False),
]
UP_CONVS = [(1024, 512, 28), (512, 256, 52), (256, 128, 100), (128, 64, 196)]
LAYERS = [Layer(False, *layer) for layer in CONVOLUTIONS] + [Layer(True, c, 0, o, h, False) for c, o, h in UP_CONVS]
# Two roundings to the dtype; of float32 to TF32.
ERROR_BOUNDS = {torch.bfloat16: 4e-3, torch.float16: 5e-4, torch.float32: 1e-3}
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


def algorithms_for(dtype: torch.dtype) -> list[str]:
    """Return those that this machine has."""
    if not torch.cuda.is_available():
        return ["direct"]
    has_wgmma = torch.cuda.get_device_capability() == (9, 0) and dtype != torch.float32
    return (["wgmma"] if has_wgmma else []) + ["mma", "direct"]


def row_of(call: Call, wanted: tuple[Tensor, ...], dtype: torch.dtype, **facts: Any) -> dict[str, Any]:
    """Check a call twice, and time it."""
    with torch.inference_mode():
        first, second = call(), call()
        error = max(relative_l2(a, b) for a, b in zip(first, wanted, strict=True))
        same_bits = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        calls = 1 if facts["algorithm"] == "direct" else 10
        seconds = median_seconds(call, calls)
    passes = error <= ERROR_BOUNDS[dtype] and same_bits
    dtype_name = str(dtype).removeprefix("torch.")
    return facts | {"dtype": dtype_name, "error": error, "same_bits": same_bits, "seconds": seconds, "passes": passes}


def draw(dtype: torch.dtype, *size: int) -> Tensor:
    """Draw activations."""
    return torch.randn(size, dtype=dtype).contiguous(memory_format=torch.channels_last)


def conv_rows(layer: Layer, batch: int, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Check and time one 3x3 layer."""
    _, c, s, o, side, pools = layer
    x, skip = draw(dtype, batch, c, side, side).relu(), draw(dtype, batch, s, side, side).relu() if s else None
    weight, bias = draw(dtype, o, c + s, 3, 3) * (2 / (9 * (c + s))) ** 0.5, torch.randn(o, dtype=dtype)
    grad = draw(dtype, batch, o, side - 2, side - 2)
    exact = [t if t is None else t.double() for t in (x, weight, skip, grad)]
    name = f"{c}{f'+{s}' if s else ''} -> {o}, {side}{' pool' if pools else ''}"
    tflop = 2e-12 * 9 * (c + s) * o * batch * (side - 2) ** 2
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
        for algorithm in algorithms_for(dtype):
            if direction == "forward":
                call = native(x, weight, bias, skip, pools, algorithm)
            else:
                call = gradients(x, weight, skip, grad, algorithm, direction)
            facts = {"layer": name, "batch": batch, "direction": direction, "algorithm": algorithm, "tflop": tflop}
            rows.append(row_of(call, wanted, dtype, torch_seconds=torch_seconds, **facts))
    return rows


def up_rows(layer: Layer, batch: int, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Check and time one up-conv."""
    _, c, _, o, side, _ = layer
    x, grad = draw(dtype, batch, c, side, side).relu(), draw(dtype, batch, o, 2 * side, 2 * side)
    weight, bias = torch.randn(c, o, 2, 2, dtype=dtype) * (2 / c) ** 0.5, torch.randn(o, dtype=dtype)
    tflop = 2e-12 * 4 * c * o * batch * side**2
    rows = []
    for direction in ("forward", "data", "weight"):
        needs = [direction == "data", direction == "weight", direction == "weight"]
        backward = functools.partial(torch.ops.unet_fast.up_conv_backward, grad, x, weight, needs)

        def ours(direction: str = direction, backward: Call = backward) -> tuple[Tensor, ...]:
            if direction == "forward":
                return (ops.up_conv(x, weight, bias),)
            return tuple(tensor for tensor in backward() if tensor.numel())

        def plain(
            x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor, direction: str = direction, mask: list[bool] = needs
        ) -> tuple[Tensor, ...]:
            if direction == "forward":
                return (F.conv_transpose2d(x, weight, bias, stride=2),)
            options = ([o], [2, 2], [0, 0], [1, 1], True, [0, 0], 1, mask)
            found = torch.ops.aten.convolution_backward(grad, x, weight, *options)
            return tuple(tensor for tensor in found if tensor is not None)

        with torch.inference_mode():
            torch_seconds = median_seconds(functools.partial(plain, x, weight, bias, grad))
        wanted = plain(x.double(), weight.double(), bias.double(), grad.double())
        facts = {"layer": f"up {c} -> {o}, {side}", "batch": batch, "direction": direction, "algorithm": "auto"}
        rows.append(row_of(ours, wanted, dtype, torch_seconds=torch_seconds, tflop=tflop, **facts))
    return rows


def checked(layer: Layer, batch: int, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Check and time a layer."""
    return (up_rows if layer.is_up else conv_rows)(layer, batch, dtype)


def small(layer: Layer) -> Layer:
    """Return a layer of an eighth of the channels and few pixels."""
    c, s, o = layer.channels // 8, layer.skip // 8, layer.outputs // 8
    return Layer(layer.is_up, c, s, o, 18 if layer.pools else 9 if layer.is_up else 17, layer.pools)


def network_rows(batch: int, base: int, tile: int, autotune: bool) -> list[dict[str, Any]]:
    """Time the whole network in bfloat16: forward, and forward with backward."""
    device = torch.get_default_device()
    image = torch.randn(batch, 1, tile, tile, dtype=torch.bfloat16)
    with torch.device("cpu"):
        ours, peer = network(base), twin(network(base), torch.channels_last)
    ours, peer = ours.to(device).eval(), peer.to(device).eval()
    mode = "max-autotune-no-cudagraphs" if autotune else "default"
    compiled = torch.compile(peer, mode=mode) if torch.cuda.is_available() else peer
    rows = []
    for name, net in (("unet_fast", ours), ("eager", peer), (f"torch.compile {mode}", compiled)):

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
    columns = ["layer", "batch", "dtype", "direction", "algorithm", "error", "us", "floor, us", "TFLOP/s", "torch, us"]
    lines = [f"| {' | '.join([*columns, 'torch / ours'])} |", "|---|--:|---|---|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        floor, us, torch_us = 1e6 * row["tflop"] / peak_tflops, 1e6 * row["seconds"], 1e6 * row["torch_seconds"]
        lines.append(
            f"| {row['layer']} | {row['batch']} | {row['dtype']} | {row['direction']} | {row['algorithm']}"
            f" | {row['error']:.1e}"
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
    parser.add_argument("--autotune", action="store_true", help="let torch.compile try many kernels")
    options = parser.parse_args()
    start, has_gpu = time.monotonic(), torch.cuda.is_available()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # an up-conv of float32 is then TF32
    dtypes = [torch.bfloat16, torch.float16, torch.float32] if has_gpu else [torch.bfloat16]
    rows: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    with torch.device("cuda" if has_gpu else "cpu"):
        torch.manual_seed(0)
        for batch in options.batch:
            for dtype, layer in itertools.product(dtypes if batch == options.batch[0] else dtypes[:1], LAYERS):
                if time.monotonic() - start > options.seconds:
                    print(f"left out for lack of time: batch {batch}, {dtype}, {layer}")
                    continue
                new = checked(small(layer) if options.quick else layer, batch, dtype)
                print(*table(new, options.peak_tflops)[2:], sep="\n", flush=True)
                rows += new
            if not options.skip_networks:
                base, tile = (8, 188) if options.quick else (64, 572)
                networks += network_rows(batch, base, tile, options.autotune)
    lines = table(rows, options.peak_tflops)
    return write_results(options.out, "layers", rows, lines, {"networks": networks})


if __name__ == "__main__":
    sys.exit(main())
