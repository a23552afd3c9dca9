"""The network's kernels for every architecture: no registers spilled, no local memory, no wgmma serialised.

ptxas says each of these in a warning, which is an error here. Skipped where there is no nvcc.
"""

import re
import shutil
import subprocess

import pytest

from tests.native_build import ROOT

TARGETS = re.findall(r"arch=compute_\d+,code=sm_\d+a?", (ROOT / "cmake/cuda.cmake").read_text())  # as they are built
SM90A = ["arch=compute_90a,code=sm_90a"]
SOURCES = {
    "conv_relu_mma": TARGETS,
    "conv_relu_weight_grad_mma": TARGETS,
    "conv_splits": TARGETS,
    "up_conv_mma": TARGETS,
    "up_conv_weight_grad_mma": TARGETS,
    "few_channels": TARGETS,
    "head": TARGETS,
    "head_few_classes": TARGETS,
    "max_pool": TARGETS,
    "mirror_tiles": TARGETS,
    "target_classes": TARGETS,
    "weighted_cross_entropy": TARGETS,
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


def test_every_generation_has_its_own_code():
    assert {"80", "86", "90a", "100", "120"} <= {target.rpartition("_")[2] for target in TARGETS}


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
    compiled = compile_strictly("conv_relu_mma", TARGETS[:1], tmp_path)
    assert compiled.returncode != 0
    assert "spill" in compiled.stderr.lower() or "local memory" in compiled.stderr.lower(), compiled.stderr
