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


def target(ptx: str, architectures: list[str]) -> str:
    """Return what nvcc's -gencode takes: PTX is made once and assembled for each of the architectures."""
    return f"arch=compute_{ptx},code=[{','.join(f'sm_{architecture}' for architecture in architectures)}]"


# To make PTX is most of the work, and nvcc 13 makes the same for all before 100, and for all from there on, where a
# kernel has no instructions of its own for one.
EVERY = [
    target("80", [name for name in ARCHITECTURES if int(name.rstrip("a")) < 100]),
    target("100", [name for name in ARCHITECTURES if int(name.rstrip("a")) >= 100]),
]
SM90A = [target("90a", ["90a"])]
SOURCES = {
    "conv_relu_mma": EVERY,
    "conv_relu_weight_grad_mma": EVERY,
    "conv_splits": EVERY,
    "up_conv_mma": EVERY,
    "up_conv_weight_grad_mma": EVERY,
    "few_channels": EVERY,
    "head": EVERY,
    "head_few_classes": EVERY,
    "max_pool": EVERY,
    "mirror_tiles": EVERY,
    "target_classes": EVERY,
    "weighted_cross_entropy": EVERY,
    "conv_relu_wgmma": SM90A,
    "conv_relu_weight_grad_wgmma": SM90A,
}


def compile_strictly(source: str, targets: list[str], folder) -> subprocess.CompletedProcess[str]:
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if not nvcc:
        pytest.skip("no nvcc")
    strict = "--warn-on-spills,--warn-on-local-memory-usage,--warning-as-error"
    flags = ["-std=c++17", "-O3", "--expt-relaxed-constexpr", f"-I{ROOT / 'csrc'}", "-Xptxas", strict, "--threads", "0"]
    kinds = [word for target in targets for word in ("-gencode", target)]
    command = [nvcc, f"-I{folder}", *flags, "-fatbin", *kinds, "-o", str(folder / "kernel.fatbin")]
    return subprocess.run([*command, str(ROOT / f"csrc/cuda/{source}.cu")], capture_output=True, text=True, check=False)


def test_the_default_architectures():
    assert {"80", "86", "89", "90a", "100", "120"} <= set(ARCHITECTURES)


@pytest.mark.parametrize("source", SOURCES)
def test_compiles_without_spills(tmp_path, source):
    compiled = compile_strictly(source, SOURCES[source], tmp_path)
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
    compiled = compile_strictly("conv_relu_mma", [target("80", ["80"])], tmp_path)
    assert compiled.returncode != 0
    assert "spill" in compiled.stderr.lower() or "local memory" in compiled.stderr.lower(), compiled.stderr
