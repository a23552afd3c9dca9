"""What the benchmarks ask of malloc: a block that was freed is there for the next, without a page fault."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = """
import resource
import numpy as np
from benchmarks.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(1 << 24, 1.0)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def faults_of_the_third_call(keep):
    done = subprocess.run(
        [sys.executable, "-c", CALLS.format(keep=keep)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_freed_memory_is_kept():
    assert faults_of_the_third_call(keep=True) < 16
    assert faults_of_the_third_call(keep=False) > 16  # else the test would show nothing
