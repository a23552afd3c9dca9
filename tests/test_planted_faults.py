"""Faults planted into the tensor-core kernels: the emulator must make every one of them seen.

Each is what one forgets in such a kernel: a wait, a fence, a barrier, a byte count, a parity. On a GPU most would give
right numbers on most days.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.native_build import ROOT, compiler, run

CONV, CONV_STORE, GRAD, CORE = (
    f"cuda/{name}.cuh" for name in ("conv_wgmma", "conv_wgmma_store", "conv_weight_grad_wgmma", "tensor_core")
)
MMA, MMA_STORE, MMA_GRAD, PACKED = (
    f"cuda/{name}.cuh" for name in ("conv_mma", "conv_mma_store", "conv_weight_grad_mma", "packed_values")
)

# (kernel, file, what stands there, what is put in its place)
FAULTS = [
    ("wgmma", CONV, "mbarrier_wait(weights.full(), weights.round);", ""),
    ("wgmma", CONV, "mbarrier_wait(slabs.full(), slabs.round);", ""),
    ("wgmma", CONV, "mbarrier_wait(slabs.empty(), slabs.round ^ 1);", ""),
    ("wgmma", CONV, "mbarrier_wait(weights.empty(), weights.round ^ 1);", ""),
    ("wgmma", CONV, "products_wait<1>();", "products_wait<2>();"),
    ("wgmma", CONV, "products_wait<0>();", ""),
    ("wgmma", CONV_STORE, "fence_shared_for_tma();", ""),
    ("wgmma", CONV_STORE, "if (leads) tma_stores_wait_read();", ""),
    ("wgmma", CONV_STORE, "named_barrier(1 + group, 128);\n    if (leads) {", "if (leads) {"),
    ("wgmma", CONV_STORE, "named_barrier(1 + group, 128);  // the stage", "// the stage"),
    ("wgmma", CONV_STORE, "if (!conv.mask) return;", "return;"),
    ("wgmma", CONV_STORE, "int64_t{split} * conv.tiles.images", "int64_t{0}"),
    ("wgmma", CONV, "first_chunk = chunks * split", "first_chunk = 0 * split"),
    ("wgmma", CONV, "slabs.init(kConvReaders);", "slabs.init(1);"),
    ("wgmma", CONV, "kConvReaders = 8", "kConvReaders = 2"),
    ("wgmma", CONV, "slot = 0, round ^= 1;", "slot = 0;"),
    ("wgmma", CONV, "(conv.tiles.tile_height() + 2) * conv", "conv.tiles.tile_height() * conv"),
    ("wgmma", CONV, "b + 2 * k", "b + k"),
    ("wgmma", CONV, "tma_stores_wait();", ";"),
    ("wgmma", CONV, "& ~SharedAddress{1023}", ""),
    ("wgmma", CORE, "(chunk ^ (row & 7))", "chunk"),
    ("mma", MMA, "copies_wait<kMmaStages - 2>();", "copies_wait<kMmaStages - 1>();"),
    ("mma", MMA, "__syncthreads();  // stage k", "// stage k"),
    ("mma", MMA, "y = loader.y + ky, x = loader.x + kx;", "y = loader.y + kx, x = loader.x + ky;"),
    ("mma", MMA, "(warp & 3) * 32, (warp >> 2)", "(warp & 1) * 32, (warp >> 2)"),
    ("mma", MMA, "first = all_steps * split", "first = 0 * split"),
    ("mma", MMA, "value = to_tf32(value);", "(void)value;"),
    ("mma", MMA_STORE, "(split * args.images + part.image)", "(part.image)"),
    ("mma", MMA_STORE, "if (args.mask && !is_rest) {", "if (false) {"),
    ("mma", PACKED, "p > q || p != p", "p < q"),
    ("mma", MMA, "__syncthreads();  // the results", "// the results"),
    ("wgmma weight", GRAD, "products_wait<0>();", ""),
    ("wgmma weight", GRAD, "mbarrier_wait(full, round);", ""),
    ("wgmma weight", GRAD, "mbarrier_wait(empty, round ^ 1);", ""),
    ("wgmma weight", GRAD, "(kGradStages + i), 12);", "(kGradStages + i), 3);"),
    ("wgmma weight", GRAD, "named_barrier(1, 128);\n  const int o", "const int o"),
    ("mma weight", MMA_GRAD, "copies_wait<1>();", "copies_wait<2>();"),
    ("mma weight", MMA_GRAD, "__syncthreads();  // stage i", "// stage i"),
    ("mma weight", MMA_GRAD, "__syncthreads();  // nobody", "// nobody"),
    ("mma weight", MMA_GRAD, "__syncthreads();  // the warps", "// the warps"),
    ("mma weight", MMA_GRAD, "right_row<3>(y + tap / 3, tap % 3)", "right_row<3>(y + tap % 3, tap / 3)"),
    ("mma weight", MMA_GRAD, "(lane & 7) + (lane >> 4 << 3)", "lane & 15"),
    ("mma weight", MMA_GRAD, "int64_t{part.share} * kTaps", "int64_t{0} * kTaps"),
]
# The kernel's file, and the native test and its argument that run it.
KERNELS = {
    "wgmma": ("conv_relu_wgmma", "conv_tensor_core"),
    "mma": ("conv_relu_mma", "conv_tensor_core"),
    "wgmma weight": ("conv_relu_weight_grad_wgmma", "conv_tensor_core_weight_grad"),
    "mma weight": ("conv_relu_weight_grad_mma", "conv_tensor_core_weight_grad"),
}
EMULATOR = ("emulator", "emulator_tensor_core", "emulator_mma", "emulator_wgmma", "fiber")
PORTABLE = ("conv_relu", "conv_relu_paths", "conv_relu_weight_grad", "conv_splits", "few_channels")


def compile_to(objects: Path, source: Path, includes: list[Path]) -> Path:
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-DUNET_FAST_EMULATOR", "-DUNET_FAST_SM90A", "-x", "c++"]
    objects.mkdir(exist_ok=True)
    result = objects / f"{source.stem}.o"
    folders = [f"-I{folder}" for folder in [*includes, ROOT / "csrc", ROOT / "tests/native"]]
    run(compiler(), *flags, *folders, "-c", source, "-o", result, fails=f"{source} did not compile")
    return result


def link(program: Path, kernel: str, objects: dict[str, Path]) -> Path:
    """Link the native test of a kernel."""
    others = {f"test_{test}" for _, test in KERNELS.values()} - {f"test_{KERNELS[kernel][1]}"}
    files = [file for name, file in objects.items() if name not in others]
    run(compiler(), *files, "-o", program, "-lpthread", fails="the test did not link")
    return program


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The native tests of the tensor cores and all that they need, compiled without sanitizers."""
    folder = tmp_path_factory.mktemp("sound")
    native = [f"tests/native/{name}.cpp" for name in EMULATOR]
    native += [f"tests/native/test_{test}.cpp" for test in {test for _, test in KERNELS.values()}]
    cuda = [f"csrc/cuda/{name}.cu" for name in [*PORTABLE, *(kernel for kernel, _ in KERNELS.values())]]
    sources = [ROOT / name for name in [*native, *cuda]]
    with ThreadPoolExecutor(2) as pool:
        return {p.stem: p for p in pool.map(lambda source: compile_to(folder, source, []), sources)}


@pytest.mark.parametrize("kernel", KERNELS)
def test_sound_kernels_pass(objects, tmp_path, kernel):
    program = link(tmp_path / "test", kernel, objects)
    run(program, kernel.split()[0], fails="the sound kernels fail")


@pytest.mark.parametrize(("kernel", "file", "sound", "fault"), FAULTS, ids=range(len(FAULTS)))
def test_planted_fault_is_seen(objects, tmp_path, kernel, file, sound, fault):
    text = (ROOT / "csrc" / file).read_text()
    assert sound in text, f"{file} no longer has {sound!r}: plant the fault where it belongs now"
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text.replace(sound, fault))
    # Beside the fault, since a file's own folder is searched last.
    faulty = compile_to(tmp_path / "objects", ROOT / f"csrc/cuda/{KERNELS[kernel][0]}.cu", [tmp_path])
    program = link(tmp_path / "test", kernel, {**objects, faulty.stem: faulty})
    command = [program, kernel.split()[0]]
    assert subprocess.run(command, capture_output=True, check=False, timeout=120).returncode != 0
