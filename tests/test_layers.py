"""Who may know whom: reads `#include` and `import` lines and compares them with the tables below."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Folder of csrc -> folders of csrc that its files may include. cpu and cuda never see each other.
CPP_LAYERS = {
    "core": {"core"},
    "ops": {"core", "ops"},
    "cpu": {"core", "ops", "cpu"},
    "cuda": {"core", "ops", "cuda"},
    "binding": {"core", "ops", "cpu", "cuda", "binding"},
}
# Headers that are one folder's business.
CPP_ONLY_IN = {r"pybind11/|Python\.h": "binding", r"cuda": "cuda"}
# The files whose names come from the emulator in tests/native, and the one with PTX.
EMULATED = {"csrc/cuda/device.cuh": "emulator.h", "csrc/cuda/tensor_core.cuh": "emulator_tensor_core.h"}
PTX = "csrc/cuda/tensor_core.cuh"

# Part of unet_fast (a module or a package) -> other parts that it may import. ANY: it stands on top.
ANY = None
_NETWORK = {"ops", "reference", "geometry"}
PYTHON_LAYERS = {
    "_version": set(),
    "atomic_write": set(),
    "geometry": set(),
    "dropout": set(),
    "graphs": set(),
    "precision": set(),
    "reference": set(),
    "transfers": set(),
    "ops": {"_C", "_version"},
    "model": {"dropout"} | _NETWORK,
    "loss": _NETWORK,
    "augment": _NETWORK,
    "data": {"atomic_write", "augment", "geometry", "ops"},
    "metrics": {"ops"},
    "instances": {"ops"},
    "info": {"ops"},
    "plots": {"atomic_write"},
    "config": {"augment"},
    "baselines": {"dropout", "geometry"},
    "networks": {"baselines", "config", "model"},
    "checkpoint": {"atomic_write", "data", "model", "networks"},
    "samples": {"augment", "config", "data", "geometry", "ops"},
    "prediction": {
        "atomic_write",
        "checkpoint",
        "data",
        "geometry",
        "graphs",
        "instances",
        "networks",
        "ops",
        "precision",
        "transfers",
    },
    "predict": {"checkpoint", "data", "geometry", "networks", "precision", "prediction"},
    "scoring": {"atomic_write", "data", "instances", "metrics"},
    "validation": {"checkpoint", "config", "data", "instances", "metrics", "plots", "precision", "predict", "samples"},
    "trainer": ANY,
    "train": ANY,
    "evaluate": ANY,
    "export": ANY,
    "__main__": ANY,
    "__init__": ANY,
}

OPERATOR_ROOMS = [
    "csrc/ops/{}.h",
    "csrc/cpu/{}.cpp",
    "csrc/cuda/{}.cu",
    "csrc/binding/{}.cpp",
    "unet_fast/ops/{}.py",
    "unet_fast/reference/{}.py",
    "tests/ops/test_{}.py",
    "tests/native/test_{}.cpp",
    "benchmarks/bench_{}.py",
]


def cpp_faults(path: str, text: str) -> list[str]:
    """Return what is wrong with a file of csrc, given its path from the root."""
    text = re.sub(r"//.*|(?s:/\*.*?\*/)", "", text)
    folder = path.split("/")[1]
    faults = []
    for bracket, header in re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', text, re.MULTILINE):
        if bracket == '"' and header != EMULATED.get(path):
            target = header.split("/")[0]
            if target not in CPP_LAYERS or not (ROOT / "csrc" / target).is_dir():
                faults.append(f'{path}: "{header}" is not a path from csrc/')
            elif target not in CPP_LAYERS[folder]:
                faults.append(f"{path}: {folder} may not include {header}")
        faults += [
            f"{path}: only {owner} may include <{header}>"
            for pattern, owner in CPP_ONLY_IN.items()
            if bracket == "<" and re.match(pattern, header) and folder != owner
        ]
    if re.search(r"\b(asm|__asm__|__asm)\b", text) and path != PTX:
        faults.append(f"{path}: only {PTX} may hold assembly")
    return faults + environment_faults(path, text)


def imported_modules(path: str, text: str) -> set[str]:
    """Return the dotted names that a Python file imports; `from a import b` gives both a and a.b."""
    package = path.removesuffix(".py").split("/")[:-1]
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def python_faults(path: str, text: str) -> list[str]:
    """Return what is wrong with a file of unet_fast, given its path from the root."""
    part = path.split("/")[1].removesuffix(".py")
    if part not in PYTHON_LAYERS:
        return [f"{path}: PYTHON_LAYERS in tests/test_layers.py does not say what {part} may import"]
    allowed, faults = PYTHON_LAYERS[part], []
    modules = imported_modules(path, text)
    known = set(PYTHON_LAYERS) | {"_C"}
    for module in sorted(modules):
        top, _, rest = module.partition(".")
        other = rest.partition(".")[0]
        if top in {"tests", "benchmarks"}:
            faults.append(f"{path}: imports {module}")
        if top == "unet_fast" and other in known - {part} and allowed is not ANY and other not in allowed:
            faults.append(f"{path}: {part} may not import unet_fast.{other}")
        if top == "pybind11":
            faults.append(f"{path}: imports pybind11")
    return sorted(set(faults)) + environment_faults(path, text)


def environment_faults(path: str, text: str) -> list[str]:
    """Return the uses of environment variables: what a program does is said by its arguments alone, or by torchrun."""
    text = text.replace('os.environ["TORCHELASTIC_RESTART_COUNT"]', "")
    return [f"{path}: uses {name}" for name in re.findall(r"\b(?:environ|getenv|secure_getenv|putenv)\b", text)]


def operators(cmake: str, cpu_only: bool = False) -> list[str]:
    """Return the stems in UNET_FAST_OPERATORS, or in UNET_FAST_CPU_OPERATORS: those without a CUDA kernel."""
    name = "UNET_FAST_CPU_OPERATORS" if cpu_only else "UNET_FAST_OPERATORS"
    found = re.search(rf"set\({name}\s+([^)]*)\)", re.sub(r"#.*", "", cmake))
    return found[1].split() if found else []


def missing_rooms(cmake: str, root: Path) -> list[str]:
    """Return the files that operators lack. A gradient, `<stem>_grad`, shares the Python rooms of its operator."""
    rooms = []
    for stem in operators(cmake) + operators(cmake, cpu_only=True):
        for room in OPERATOR_ROOMS:
            is_python_of_gradient = stem.endswith("_grad") and room.endswith(".py")
            is_absent_cuda = stem not in operators(cmake) and room.startswith("csrc/cuda")
            if not is_python_of_gradient and not is_absent_cuda:
                rooms.append(room.format(stem))
    return [room for room in rooms if not (root / room).is_file()]


def _files(folder: str, suffixes: set[str]) -> list[str]:
    found = (p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*") if p.suffix in suffixes)
    return sorted(found)


def _faults_of_all(check, files):
    return [fault for file in files for fault in check(file, (ROOT / file).read_text())]


def test_cpp_layers():
    files = _files("csrc", {".h", ".cpp", ".cuh", ".cu"})
    assert {file.split("/")[1] for file in files} == set(CPP_LAYERS)
    assert _faults_of_all(cpp_faults, files) == []


def test_python_layers():
    files = _files("unet_fast", {".py", ".pyi"})
    assert "unet_fast/ops/_native.py" in files
    assert _faults_of_all(python_faults, [file for file in files if file != "unet_fast/_C.pyi"]) == []


def test_layers_have_an_order():
    below = {part: allowed for part, allowed in PYTHON_LAYERS.items() if allowed is not ANY}
    assert set(below) < set(graphlib.TopologicalSorter(below).static_order())  # raises where there is a cycle
    assert not [part for part, allowed in below.items() if any(PYTHON_LAYERS.get(p, 0) is ANY for p in allowed)]


def test_every_operator_is_in_every_room():
    cmake = (ROOT / "cmake/sources.cmake").read_text()
    assert "mirror_tiles" in operators(cmake)
    assert missing_rooms(cmake, ROOT) == []


def test_every_interface_is_an_operator():
    cmake = (ROOT / "cmake/sources.cmake").read_text()
    stems = operators(cmake) + operators(cmake, cpu_only=True)
    assert [file.stem for file in (ROOT / "csrc/ops").glob("*.h") if file.stem not in stems] == []


@pytest.mark.parametrize(
    ("path", "line", "fault"),
    [
        ("csrc/core/a.h", '#include "ops/a.h"', "core may not include ops/a.h"),
        ("csrc/ops/a.h", '#include "cpu/a.h"', "ops may not include cpu/a.h"),
        ("csrc/cpu/a.cpp", '  #  include "cuda/device.cuh"', "cpu may not include cuda/device.cuh"),
        ("csrc/cuda/a.cu", '#include "cpu/kernels.h"', "cuda may not include cpu/kernels.h"),
        ("csrc/cuda/a.cu", '#include "binding/run.h"', "cuda may not include binding/run.h"),
        ("csrc/cuda/a.cu", '#include "emulator.h"', '"emulator.h" is not a path from csrc/'),
        ("csrc/cpu/a.cpp", '#include "../cuda/device.cuh"', "is not a path from csrc/"),
        ("csrc/cpu/a.cpp", "#include <pybind11/stl.h>", "only binding may include <pybind11/stl.h>"),
        ("csrc/cuda/a.cu", "#include <Python.h>", "only binding may include <Python.h>"),
        ("csrc/binding/a.cpp", "#include <cuda_runtime.h>", "only cuda may include <cuda_runtime.h>"),
        ("csrc/cuda/device.cuh", 'asm volatile("fence;");', "only csrc/cuda/tensor_core.cuh may hold assembly"),
        ("csrc/core/a.h", 'getenv("THREADS")', "uses getenv"),
    ],
)
def test_planted_cpp_faults_are_found(path, line, fault):
    (found,) = cpp_faults(path, f"// a file\n{line}\n")
    assert fault in found


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("csrc/cuda/a.cu", '#include "core/mirror.h"'),
        ("csrc/binding/a.cpp", '#include "cpu/dispatch.h"'),
        ("csrc/binding/a.cpp", "#include <pybind11/stl.h>"),
        ("csrc/cuda/device.cuh", '#include "emulator.h"'),
        ("csrc/cuda/tensor_core.cuh", '#include "emulator_tensor_core.h"\nasm volatile("fence;");'),
        ("csrc/cpu/a.cpp", "/* asm\nand */  // getenv in a comment"),
    ],
)
def test_sound_cpp_passes(path, line):
    assert cpp_faults(path, line) == []


@pytest.mark.parametrize(
    ("path", "line", "fault"),
    [
        ("unet_fast/geometry.py", "from unet_fast import ops", "geometry may not import unet_fast.ops"),
        ("unet_fast/geometry.py", "def f():\n    from . import model", "geometry may not import unet_fast.model"),
        ("unet_fast/reference/a.py", "import unet_fast.ops.a", "reference may not import unet_fast.ops"),
        ("unet_fast/reference/a.py", "from ..ops import a", "reference may not import unet_fast.ops"),
        ("unet_fast/ops/a.py", "from unet_fast.reference.a import a", "ops may not import unet_fast.reference"),
        ("unet_fast/model.py", "from unet_fast.ops._native import _C\nfrom unet_fast import _C", "import unet_fast._C"),
        ("unet_fast/data/a.py", "from unet_fast.model import UNet", "data may not import unet_fast.model"),
        ("unet_fast/metrics/a.py", "from unet_fast.data import a", "metrics may not import unet_fast.data"),
        ("unet_fast/baselines/a.py", "import unet_fast.train", "baselines may not import unet_fast.train"),
        ("unet_fast/train.py", "from tests.conftest import generator", "imports tests.conftest"),
        ("unet_fast/train.py", "import benchmarks", "imports benchmarks"),
        ("unet_fast/train.py", 'os.environ["THREADS"]', "uses environ"),
        ("unet_fast/stranger.py", "", "does not say what stranger may import"),
    ],
)
def test_planted_python_faults_are_found(path, line, fault):
    assert fault in "\n".join(python_faults(path, line))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("unet_fast/ops/a.py", "from unet_fast.ops._native import _C, register"),
        ("unet_fast/model.py", "from unet_fast import ops, reference\nfrom unet_fast.geometry import TilePlan"),
        ("unet_fast/data/a.py", "import numpy as np\nfrom unet_fast.augment import random_warp"),
        ("unet_fast/train.py", "from unet_fast import data, metrics, model"),
    ],
)
def test_sound_python_passes(path, line):
    assert python_faults(path, line) == []


def test_a_missing_room_is_found(tmp_path):
    assert len(missing_rooms("set(UNET_FAST_OPERATORS a_grad)", tmp_path)) == 5
    cmake = "set(UNET_FAST_OPERATORS\n  a  # first\n  b\n)\nset(UNET_FAST_CPU_OPERATORS c)"
    missing = missing_rooms(cmake, tmp_path)
    assert missing == [
        room.format(stem) for stem in "abc" for room in OPERATOR_ROOMS if (stem, room[5:9]) != ("c", "cuda")
    ]
    for file in missing:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert missing_rooms(cmake, tmp_path) == []
