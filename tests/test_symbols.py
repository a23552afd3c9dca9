"""No weak symbols in the objects that are compiled for an instruction set.

The linker keeps one copy of a function that several objects define weakly (inline functions and templates of external
linkage). If it kept the copy from an AVX-512 object, an older machine would die of an illegal instruction in code that
has nothing to do with our kernels; see csrc/core/portable.h.
"""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native_build import ROOT, compiler, native_build

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"} or platform.system() != "Linux" or not shutil.which("nm"),
    reason="needs x86-64, Linux and nm",
)

SETS = ("avx2", "avx512", "amx")


def weak_symbols(object_file: Path) -> list[str]:
    """Return the lines of nm for weak symbols that the object defines or refers to."""
    symbols = subprocess.run(
        ["nm", "--demangle", object_file], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    return [line.strip() for line in symbols if re.search(r" [WwVvu] ", line)]


def kernel_objects(build: Path) -> list[Path]:
    """Return the objects that a build folder makes for all but the generic instruction set."""
    objects = rf"^build (CMakeFiles/unet_fast_cpu_(?:{'|'.join(SETS)})\.dir/\S+\.o):"
    return [build / name for name in re.findall(objects, (build / "build.ninja").read_text(), re.MULTILINE)]


def built_before() -> Path | None:
    """Return a build of the module that is newer than all its sources, if there is one."""
    sources = [file for folder in ("csrc/core", "csrc/ops", "csrc/cpu", "cmake") for file in (ROOT / folder).iterdir()]
    newest = max(file.stat().st_mtime for file in sources)
    for rules in ROOT.glob("build/*/build.ninja"):
        objects = kernel_objects(rules.parent)
        if objects and all(file.exists() and file.stat().st_mtime > newest for file in objects):
            return rules.parent
    return None


def test_objects_for_an_instruction_set_have_no_weak_symbols():
    objects = kernel_objects(built_before() or native_build("release", *(f"unet_fast_cpu_{isa}" for isa in SETS)))
    for isa, kernel in (("avx2", "mirror_tiles"), ("avx512", "mirror_tiles"), ("amx", "winograd")):
        assert any(isa in file.parts[-4] and file.name == f"{kernel}.cpp.o" for file in objects)
    weak = {f"{file.parts[-4]}/{file.name}": weak_symbols(file) for file in objects}
    assert {name: symbols for name, symbols in weak.items() if symbols} == {}


_VECTOR = """
#include <vector>
void twice(std::vector<std::vector<int>>& rows, std::vector<int>& row) {
  rows.push_back(row);
  rows.push_back(row);
}
"""


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (_VECTOR, "std::vector<"),
        ("template <class T> T twice(T x) { return x + x; }\ntemplate int twice(int);", "int twice<int>"),
        ("inline int count = 0;\nint next() { return ++count; }", "count"),
    ],
)
def test_a_planted_weak_symbol_is_found(tmp_path, source, name):
    (tmp_path / "a.cpp").write_text(source)
    subprocess.run(
        [compiler(), "-std=c++20", "-O2", "-mavx2", "-c", tmp_path / "a.cpp", "-o", tmp_path / "a.o"], check=True
    )
    assert name in "\n".join(weak_symbols(tmp_path / "a.o"))


def test_a_sound_object_has_none(tmp_path):
    (tmp_path / "a.cpp").write_text("static inline int one() { return 1; }\nint two() { return one() + one(); }")
    subprocess.run([compiler(), "-std=c++20", "-O3", "-c", tmp_path / "a.cpp", "-o", tmp_path / "a.o"], check=True)
    assert weak_symbols(tmp_path / "a.o") == []
