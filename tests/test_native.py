"""The native tests: CPU kernels on every instruction set and CUDA kernels on the emulator, under sanitizers."""

import re

import pytest

from tests.native_build import ROOT, WORKERS, native_build, run
from tests.test_layers import operators


@pytest.mark.parametrize("sanitize", ["address,undefined,float-cast-overflow", "thread"])
def test_native(sanitize):
    build = native_build(sanitize.partition(",")[0], sanitize=sanitize)
    jobs = ["--parallel", str(WORKERS)]
    printed = run("ctest", "--test-dir", build, "--output-on-failure", *jobs, fails="native tests failed")
    passed = set(re.findall(r"(\w+) \.+ +Passed", printed))
    cmake = (ROOT / "cmake/sources.cmake").read_text()
    assert set(operators(cmake) + operators(cmake, cpu_only=True)) - passed == set()
