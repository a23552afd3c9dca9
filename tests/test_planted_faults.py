"""Faults planted into the CUDA kernels: the emulator must make every one of them seen.

Each is what one forgets in such a kernel: a wait, a fence, a barrier, a byte count, a parity. On a GPU most would give
right numbers on most days.

A fault is compiled without optimization, which takes a third of the time, and headers that have none are compiled once.
"""

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.native_build import ROOT, WORKERS, compiler, run

CONV, CONV_STORE, GRAD, CORE = (
    f"{name}.cuh" for name in ("conv_wgmma", "conv_wgmma_store", "conv_weight_grad_wgmma", "tensor_core")
)
MMA, MMA_STORE, MMA_GRAD, PACKED = (
    f"{name}.cuh" for name in ("conv_mma", "conv_mma_store", "conv_weight_grad_mma", "packed_values")
)


class Kernel(NamedTuple):
    """The kernel's file, the native test that runs it with its arguments, and what is planted.

    A fault is a file of csrc/cuda, what stands there, and what is put in its place.
    """

    source: str
    test: str
    arguments: list[str]
    faults: list[tuple[str, str, str]]


KERNELS = {
    "wgmma": Kernel(
        "conv_relu_wgmma",
        "conv_tensor_core",
        ["wgmma"],
        [
            (CONV, "mbarrier_wait(weights.full(), weights.round);", ""),
            (CONV, "mbarrier_wait(slabs.full(), slabs.round);", ""),
            (CONV, "mbarrier_wait(slabs.empty(), slabs.round ^ 1);", ""),
            (CONV, "mbarrier_wait(weights.empty(), weights.round ^ 1);", ""),
            (CONV, "products_wait<1>();", "products_wait<2>();"),
            (CONV, "products_wait<0>();", ""),
            (CONV_STORE, "fence_shared_for_tma();", ""),
            (CONV_STORE, "if (leads) tma_stores_wait_read();", ""),
            (CONV_STORE, "named_barrier(1 + group, 128);\n    if (leads) {", "if (leads) {"),
            (CONV_STORE, "named_barrier(1 + group, 128);  // the stage", "// the stage"),
            (CONV_STORE, "if (!conv.mask) return;", "return;"),
            (CONV_STORE, "int64_t{split} * conv.tiles.images", "int64_t{0}"),
            (CONV, "first_chunk = chunks * split", "first_chunk = 0 * split"),
            (CONV, "slabs.init(kConvReaders);", "slabs.init(1);"),
            (CONV, "kConvReaders = 8", "kConvReaders = 2"),
            (CONV, "slot = 0, round ^= 1;", "slot = 0;"),
            (CONV, "(conv.tiles.tile_height() + 2) * conv", "conv.tiles.tile_height() * conv"),
            (CONV, "b + 2 * k", "b + k"),
            (CONV, "tma_stores_wait();", ";"),
            (CONV, "& ~SharedAddress{1023}", ""),
            (CORE, "(chunk ^ (row & 7))", "chunk"),
        ],
    ),
    "mma": Kernel(
        "conv_relu_mma",
        "conv_tensor_core",
        ["mma"],
        [
            (MMA, "copies_wait<kMmaStages - 2>();", "copies_wait<kMmaStages - 1>();"),
            (MMA, "__syncthreads();  // stage k", "// stage k"),
            (MMA, "y = loader.y + ky, x = loader.x + kx;", "y = loader.y + kx, x = loader.x + ky;"),
            (MMA, "(warp & 3) * 32, (warp >> 2)", "(warp & 1) * 32, (warp >> 2)"),
            (MMA, "first = all_steps * split", "first = 0 * split"),
            (MMA, "value = to_tf32(value);", "(void)value;"),
            (MMA_STORE, "(split * args.images + part.image)", "(part.image)"),
            (MMA_STORE, "if (args.mask && !is_rest) {", "if (false) {"),
            (PACKED, "p > q || p != p", "p < q"),
            (MMA, "__syncthreads();  // the results", "// the results"),
        ],
    ),
    "wgmma weight": Kernel(
        "conv_relu_weight_grad_wgmma",
        "conv_tensor_core_weight_grad",
        ["wgmma"],
        [
            (GRAD, "products_wait<0>();", ""),
            (GRAD, "mbarrier_wait(full, round);", ""),
            (GRAD, "mbarrier_wait(empty, round ^ 1);", ""),
            (GRAD, "(kGradStages + i), 12);", "(kGradStages + i), 3);"),
            (GRAD, "named_barrier(1, 128);\n  const int o", "const int o"),
        ],
    ),
    "mma weight": Kernel(
        "conv_relu_weight_grad_mma",
        "conv_tensor_core_weight_grad",
        ["mma"],
        [
            (MMA_GRAD, "copies_wait<1>();", "copies_wait<2>();"),
            (MMA_GRAD, "__syncthreads();  // stage i", "// stage i"),
            (MMA_GRAD, "__syncthreads();  // nobody", "// nobody"),
            (MMA_GRAD, "__syncthreads();  // the warps", "// the warps"),
            (MMA_GRAD, "right_row(y + tap / 3, x + tap % 3)", "right_row(y + tap % 3, x + tap / 3)"),
            (MMA_GRAD, "(lane & 7) + (lane >> 4 << 3)", "lane & 15"),
            (
                MMA_GRAD,
                "(i >> 1) * 4 * Tile::kRowBytes + (i & 1) * 32",
                "(i & 1) * 4 * Tile::kRowBytes + (i >> 1) * 32",
            ),
            (MMA_GRAD, "m[i] = to_tf32(load_shared_pair(", "m[i] = (load_shared_pair("),
            (MMA_GRAD, "int64_t{part.share} * kTaps", "int64_t{0} * kTaps"),
        ],
    ),
    "first layer": Kernel(
        "few_channels",
        "conv_relu",
        [],
        [("few_channels.cu", "__syncthreads();  // the weights are there", "// the weights are there")],
    ),
    "head": Kernel(
        "head_few_classes",
        "head",
        [],
        [
            ("head_few_classes.cu", "__syncthreads();  // weights and pixels", "// weights and pixels"),
            ("softmax.cuh", "k < classes ? expf(z[k] - top) : 0.0f", "expf(z[k] - top)"),
        ],
    ),
    "pool": Kernel("max_pool", "max_pool", [], [("max_pool.cu", "value > best ||", "value >= best ||")]),
}
EMULATOR = ("emulator", "emulator_tensor_core", "emulator_mma", "emulator_wgmma", "fiber")
OTHERS = ("conv_relu", "conv_relu_paths", "conv_relu_weight_grad", "conv_splits", "head")
DEFINITIONS = [f"-DUNET_FAST_{name}" for name in ("EMULATOR", "EMULATOR_ALONE", "SM90A")]


class Programs:
    """Compiles the native tests and links them with the kernels, sound or not; all of it without sanitizers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.common = folder / "common.h"
        self.common.write_text('#include "check.h"\n#include "emulator_tensor_core.h"\n')
        self.compile(self.common, folder / "common.h.gch", "-O0", language="c++-header")
        native = [*EMULATOR, *{f"test_{kernel.test}" for kernel in KERNELS.values()}]
        cuda = [*OTHERS, *(kernel.source for kernel in KERNELS.values())]
        with ThreadPoolExecutor(WORKERS) as pool:
            tests = pool.map(
                lambda name: self.compile(ROOT / f"tests/native/{name}.cpp", folder / f"{name}.o", "-O2"), native
            )
            kernels = pool.map(lambda name: self.compile_kernel(name, folder), cuda)
            self.objects = {path.stem: path for path in [*tests, *kernels]}

    def compile(
        self, source: Path, result: Path, *flags: str, folders: Iterable[Path] = (), language: str = "c++"
    ) -> Path:
        includes = [f"-I{folder}" for folder in (*folders, ROOT / "csrc", ROOT / "tests/native")]
        always = ["-std=c++20", "-ffp-contract=off", *DEFINITIONS, "-x", language]
        run(compiler(), *flags, *always, *includes, source, "-c", "-o", result, fails=f"{source} did not compile")
        return result

    def compile_kernel(self, name: str, folder: Path) -> Path:
        """Compile a kernel; files in `folder`/cuda are taken instead of those of csrc."""
        planted = folder / f"cuda/{name}.cu"
        source = planted if planted.exists() else ROOT / f"csrc/cuda/{name}.cu"
        common = ["-O0", "-include", str(self.common)]
        return self.compile(source, folder / f"{name}.o", *common, folders=[folder])

    def link(self, kernel: Kernel, program: Path, **faulty: Path) -> Path:
        others = {f"test_{other.test}" for other in KERNELS.values()} - {f"test_{kernel.test}"}
        files = [file for name, file in (self.objects | faulty).items() if name not in others]
        missing = ["-Wl,--unresolved-symbols=ignore-all", "-no-pie"]  # the CPU's kernels
        run(compiler(), *files, "-o", program, "-lpthread", *missing, fails="the test did not link")
        return program

    def sees(self, kernel: Kernel, number: int) -> bool:
        """Whether the native test fails with a fault of the kernel."""
        file, sound, fault = kernel.faults[number]
        text = (ROOT / "csrc/cuda" / file).read_text()
        assert sound in text, f"{file} no longer has {sound!r}: plant the fault where it belongs now"
        folder = self.folder / f"{kernel.source}_{number}"
        (folder / "cuda").mkdir(parents=True)
        (folder / "cuda" / file).write_text(text.replace(sound, fault))
        faulty = self.compile_kernel(kernel.source, folder)
        program = self.link(kernel, folder / "test", **{kernel.source: faulty})
        return (
            subprocess.run([program, *kernel.arguments], capture_output=True, check=False, timeout=120).returncode != 0
        )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("name", KERNELS)
def test_sound_kernels_pass(programs, tmp_path, name):
    program = programs.link(KERNELS[name], tmp_path / "test")
    run(program, *KERNELS[name].arguments, fails="the sound kernels fail")


@pytest.mark.parametrize("name", KERNELS)
def test_planted_faults_are_seen(programs, name):
    kernel = KERNELS[name]
    with ThreadPoolExecutor(WORKERS) as pool:
        seen = list(pool.map(lambda number: programs.sees(kernel, number), range(len(kernel.faults))))
    assert [fault for fault, is_seen in zip(kernel.faults, seen, strict=True) if not is_seen] == []
