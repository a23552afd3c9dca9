"""Fixtures that every test of an operator shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unet_fast.ops._native import _C

torch.set_num_threads(2)

_DEVICES = [f"cpu-{isa}" for isa in _C.supported_instruction_sets()] + ["cuda"]


@pytest.fixture(params=_DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Each instruction set that this machine supports in turn, then CUDA."""
    kind, _, isa = request.param.partition("-")
    if kind == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        yield torch.device("cuda")
        return
    before = _C.instruction_set()
    _C.set_instruction_set(isa)
    yield torch.device("cpu")
    _C.set_instruction_set(before)


@pytest.fixture(params=["cuda"])
def cuda(request: pytest.FixtureRequest) -> torch.device:
    """CUDA, where there is one; its tests have "cuda" in their names, as those of `device` have."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.fixture
def generator() -> torch.Generator:
    """A random generator with a fixed seed, on the CPU."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled images that may lie beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images are not on this machine")
    return folder
