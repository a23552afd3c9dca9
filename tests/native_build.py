"""Builds the native core, without Python, below build/native: for the tests that run it or look into its objects."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKERS = os.cpu_count() or 1


def run(*command: str | Path, fails: str) -> str:
    """Run a command and return what it printed; where it fails, fail the test with that."""
    result = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode:
        pytest.fail(f"{fails}\n{result.stdout[-10_000:]}", pytrace=False)
    return result.stdout


def compiler() -> str:
    """Return the C++ compiler; skip the test where there is none."""
    found = next(filter(None, map(shutil.which, [os.environ.get("CXX", ""), "c++", "g++", "clang++"])), None)
    if not found:
        pytest.skip("no C++ compiler")
    return found


def native_build(name: str, *targets: str, sanitize: str = "", folder: Path = ROOT / "build" / "native") -> Path:
    """Configure and build; skip the test where a tool or the sanitizer is missing.

    Args:
        name: of the build, a folder below `folder`. What is up to date there is not built again.
        targets: to build; none is all of them.
        sanitize: as for the compiler's -fsanitize, or "".
        folder: where builds are kept.

    Returns:
        The build folder.
    """
    cxx = compiler()
    for tool in ("cmake", "ninja"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool}")
    probe = [cxx, f"-fsanitize={sanitize}", "-x", "c++", "-", "-o", os.devnull]
    if (
        sanitize
        and subprocess.run(probe, input="int main() {}", text=True, capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{cxx} has no -fsanitize={sanitize}")
    options = {"PYTHON": "OFF", "CUDA": "OFF", "NATIVE_TESTS": "ON", "SANITIZE": sanitize}
    definitions = [f"-DUNET_FAST_{option}={value}" for option, value in options.items()]
    build = folder / name
    generator = ["-G", "Ninja", f"-DCMAKE_CXX_COMPILER={cxx}"]
    run("cmake", "-S", ROOT, "-B", build, *generator, *definitions, fails="cmake could not configure")
    jobs = ["--parallel", str(WORKERS)]
    run("cmake", "--build", build, *jobs, *(["--target", *targets] if targets else []), fails="the build failed")
    return build
