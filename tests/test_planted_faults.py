"""Faults planted into the tensor-core kernels: the emulator must make every one of them seen.

Each is what one forgets in such a kernel: a wait, a fence, a barrier, a byte count, a parity. On a GPU most would give
right numbers on most days.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.native_build import ROOT, compiler, run

CONV, MMA, GRAD, CORE = (
    f"cuda/{name}.cuh" for name in ("conv_wgmma", "conv_mma", "conv_weight_grad_wgmma", "tensor_core")
)

# (part of the native test, file, what stands there, what is put in its place)
FAULTS = [
    ("wgmma", CONV, "mbarrier_wait(weights.full(), weights.round);", ""),
    ("wgmma", CONV, "mbarrier_wait(slabs.full(), slabs.round);", ""),
    ("wgmma", CONV, "mbarrier_wait(slabs.empty(), slabs.round ^ 1);", ""),
    ("wgmma", CONV, "mbarrier_wait(weights.empty(), weights.round ^ 1);", ""),
    ("wgmma", CONV, "products_wait<1>();", "products_wait<2>();"),
    ("wgmma", CONV, "products_wait<0>();", ""),
    ("wgmma", CONV, "fence_shared_for_tma();", ""),
    ("wgmma", CONV, "if (leads) tma_stores_wait_read();", ""),
    ("wgmma", CONV, "named_barrier(1 + group, 128);\n    if (leads) {", "if (leads) {"),
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
    ("mma", MMA, "first_pixel = (warp & 3) * 32", "first_pixel = (warp & 1) * 32"),
    ("mma", MMA, "__syncthreads();  // the results", "// the results"),
    ("weight_gradient", GRAD, "products_wait<0>();", ""),
    ("weight_gradient", GRAD, "mbarrier_wait(full, round);", ""),
    ("weight_gradient", GRAD, "mbarrier_wait(empty, round ^ 1);", ""),
    ("weight_gradient", GRAD, "(kGradStages + i), 12);", "(kGradStages + i), 3);"),
    ("weight_gradient", GRAD, "named_barrier(1, 128);\n  const int o", "const int o"),
]
KERNEL_OF = {"wgmma": "conv_relu_wgmma", "mma": "conv_relu_mma", "weight_gradient": "conv_relu_weight_grad_wgmma"}


def compile_to(objects: Path, source: Path, includes: list[Path]) -> Path:
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-DUNET_FAST_EMULATOR", "-DUNET_FAST_SM90A", "-x", "c++"]
    objects.mkdir(exist_ok=True)
    result = objects / f"{source.stem}.o"
    folders = [f"-I{folder}" for folder in [*includes, ROOT / "csrc", ROOT / "tests/native"]]
    run(compiler(), *flags, *folders, "-c", source, "-o", result, fails=f"{source} did not compile")
    return result


def link(program: Path, objects: list[Path]) -> Path:
    run(compiler(), *objects, "-o", program, "-lpthread", fails="the test did not link")
    return program


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The native test of the tensor cores and all that it needs, compiled without sanitizers."""
    folder = tmp_path_factory.mktemp("sound")
    native = [f"tests/native/{name}.cpp" for name in ("emulator", "emulator_tensor_core", "fiber")]
    cuda = [f"csrc/cuda/{name}.cu" for name in ("conv_relu", "conv_relu_paths", "conv_relu_weight_grad")]
    cuda += [f"csrc/cuda/{name}.cu" for name in KERNEL_OF.values()]
    sources = [ROOT / name for name in [*native, "tests/native/test_conv_tensor_core.cpp", *cuda]]
    with ThreadPoolExecutor(2) as pool:
        return {p.stem: p for p in pool.map(lambda source: compile_to(folder, source, []), sources)}


@pytest.mark.parametrize("part", KERNEL_OF)
def test_sound_kernels_pass(objects, tmp_path, part):
    program = link(tmp_path / "test", list(objects.values()))
    run(program, part, fails="the sound kernels fail")


@pytest.mark.parametrize(("part", "file", "sound", "fault"), FAULTS, ids=range(len(FAULTS)))
def test_planted_fault_is_seen(objects, tmp_path, part, file, sound, fault):
    text = (ROOT / "csrc" / file).read_text()
    assert sound in text, f"{file} no longer has {sound!r}: plant the fault where it belongs now"
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text.replace(sound, fault))
    # Beside the fault, since a file's own folder is searched last.
    kernel = compile_to(tmp_path / "objects", ROOT / f"csrc/cuda/{KERNEL_OF[part]}.cu", [tmp_path])
    program = link(tmp_path / "test", list({**objects, kernel.stem: kernel}.values()))
    assert subprocess.run([program, part], capture_output=True, check=False, timeout=120).returncode != 0
