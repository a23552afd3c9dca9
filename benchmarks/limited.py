"""PyTorch's forward pass limited to an instruction set: in a process of its own, since it looks once, at its start.

The process waits for the name of a rival on its standard input, runs it, and says on its standard output that it has,
so that it can be timed in turn with what runs elsewhere.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.allocator import keep_freed_memory
from benchmarks.networks import FROZEN, forward_rivals, network, training_batch

VARIABLES = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}}


@contextmanager
def limited_rivals(
    instruction_set: str, base: int, tile: int, folder: Path, *, compiled: bool, keeps_memory: bool
) -> Iterator[dict[str, Callable[[], Tensor]]]:
    """Yield name -> call as `forward_rivals` does, each of which runs in a process that is limited.

    Args:
        instruction_set: of PyTorch and oneDNN, a key of VARIABLES.
        base: width of the network.
        tile: side of the image, which is that of `training_batch`.
        folder: where results pass from there to here.
        compiled: whether torch.compile with frozen weights is among them; without, it gives nan where it is limited.
        keeps_memory: whether freed memory stays with that process, too.
    """
    command = [sys.executable, "-m", "benchmarks.limited", str(base), str(tile), str(int(compiled)), str(folder)]
    command += [str(torch.get_num_threads()), str(int(keeps_memory))]
    environment = os.environ | VARIABLES[instruction_set]
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        requests, answers = process.stdin, process.stdout
        results: dict[str, Tensor] = {}

        def run(name: str) -> Tensor:
            requests.write(name + "\n")
            requests.flush()
            answer = answers.readline().strip()
            assert answer == name, f"the limited process said {answer!r}"
            if name not in results:  # once, outside the timed rounds
                results[name] = torch.load(folder / name)
            return results[name]

        names = answers.readline().strip().split(",")
        yield {name: lambda name=name: run(name) for name in names}  # type: ignore[misc]
        requests.close()


def main(base: int, tile: int, compiled: bool, folder: Path, threads: int, keeps_memory: bool) -> None:
    """Answer until the input ends."""
    if keeps_memory:
        keep_freed_memory()
    torch.set_num_threads(threads)
    rivals = forward_rivals(network(base).eval(), training_batch(tile)[0], compiled=(FROZEN,) if compiled else ())
    print(",".join(rivals), flush=True)
    for line in sys.stdin:
        name = line.strip()
        with torch.inference_mode():
            scores = rivals[name]()
        if not (folder / name).exists():
            torch.save(scores, folder / name)
        print(name, flush=True)


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        int(sys.argv[2]),
        bool(int(sys.argv[3])),
        Path(sys.argv[4]),
        int(sys.argv[5]),
        bool(int(sys.argv[6])),
    )
