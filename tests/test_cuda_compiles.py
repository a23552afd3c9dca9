"""The network's kernels for every architecture: no registers spilled, no local memory, no wgmma serialised.

ptxas says each of these in a warning, which is an error here. Skipped where there is no nvcc.
"""

import re
import shutil
import subprocess

import pytest

from tests.native_build import ROOT

CMAKE = (ROOT / "cmake/cuda.cmake").read_text()
ARCHITECTURES = re.findall(r"(\d+a?)(?:-real)?\b", re.search(r"set\(CMAKE_CUDA_ARCHITECTURES (.*)\)", CMAKE)[1])
SOURCES = {
    "conv_relu_mma": ARCHITECTURES,
    "conv_relu_weight_grad_mma": ARCHITECTURES,
    "conv_splits": ARCHITECTURES,
    "up_conv_mma": ARCHITECTURES,
    "up_conv_weight_grad_mma": ARCHITECTURES,
    "few_channels": ARCHITECTURES,
    "head_few_classes": ARCHITECTURES,
    "max_pool": ARCHITECTURES,
    "mirror_tiles": ARCHITECTURES,
    "target_classes": ARCHITECTURES,
    "weighted_cross_entropy": ARCHITECTURES,
    "conv_relu_wgmma": ["90a"],
    "conv_relu_weight_grad_wgmma": ["90a"],
}


def compile_strictly(source: str, architecture: str, folder, *more: str) -> subprocess.CompletedProcess[str]:
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if not nvcc:
        pytest.skip("no nvcc")
    strict = "--warn-on-spills,--warn-on-local-memory-usage,--warning-as-error"
    flags = ["-std=c++17", "-O3", "--expt-relaxed-constexpr", f"-I{ROOT / 'csrc'}", "-Xptxas", strict]
    target = ["-cubin", f"-arch=sm_{architecture}", "-o", str(folder / "kernel.cubin")]
    command = [nvcc, f"-I{folder}", *flags, *target, *more, str(ROOT / f"csrc/cuda/{source}.cu")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_default_architectures():
    assert {"80", "86", "89", "90a", "100", "120"} <= set(ARCHITECTURES)


@pytest.mark.parametrize(
    ("source", "architecture"), [(source, arch) for source, archs in SOURCES.items() for arch in archs]
)
def test_compiles_without_spills(tmp_path, source, architecture):
    compiled = compile_strictly(source, architecture, tmp_path)
    assert compiled.returncode == 0, compiled.stderr


@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        ("__launch_bounds__(kMmaThreads)", "__launch_bounds__(kMmaThreads, 4)"),  # 64 registers for 64 sums
        (
            "multiply_16x8<T>(sums[i][j], a[i]",
            "multiply_16x8<T>(sums[i][(j + args_j) % 2], a[i]",
        ),  # an array of unknown index
    ],
    ids=["spill", "local memory"],
)
def test_a_planted_fault_is_an_error(tmp_path, sound, fault):
    text = (ROOT / "csrc/cuda/conv_mma.cuh").read_text()
    assert sound in text
    text = text.replace(sound, fault).replace("args_j", "static_cast<int>(clock())")
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda/conv_mma.cuh").write_text(text)
    compiled = compile_strictly("conv_relu_mma", "80", tmp_path)
    assert compiled.returncode != 0
    assert "spill" in compiled.stderr.lower() or "local memory" in compiled.stderr.lower(), compiled.stderr
