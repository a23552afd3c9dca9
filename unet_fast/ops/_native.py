"""The compiled module `unet_fast._C`, and how its functions become torch operators.

An operator `name` is `torch.ops.unet_fast.name`: it allocates its result and calls `_C.name`, which checks the
arguments and runs the kernel of their device. Operators know no gradient; the public functions beside them add it
with a `torch.autograd.Function` where one is asked for.
"""

import functools
import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch

from unet_fast._version import __version__

Result = TypeVar("Result")

_MEND = "run `pip install .` in the checkout (or `pip install unet_fast`) with this Python"


def _sources_hash(csrc: Path) -> str:
    """Compute the fingerprint of csrc/ that cmake/sources.cmake compiles into the module."""
    root = csrc.parent
    files = sorted(p.relative_to(root).as_posix() for p in csrc.rglob("*") if p.suffix in {".h", ".cpp", ".cuh", ".cu"})
    lines = (f"{file} {hashlib.sha256((root / file).read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _load() -> Any:
    try:
        from unet_fast import _C  # noqa: PLC0415  (the import is what is being tried)
    except ImportError as error:
        raise ImportError(f"unet_fast's compiled module is missing or unusable ({error}): {_MEND}") from None
    if _C.version != __version__:
        raise ImportError(f"unet_fast is {__version__} but its compiled module is {_C.version}: {_MEND}")
    csrc = Path(__file__).parents[2] / "csrc"
    if csrc.is_dir() and _sources_hash(csrc) != _C.sources:
        warnings.warn(f"csrc/ has changed since unet_fast's module was compiled: {_MEND}", stacklevel=3)
    return _C


_C = _load()
_library = torch.library.Library("unet_fast", "DEF")


def register(schema: str, implementation: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Define `torch.ops.unet_fast.<name>` for CPU and CUDA tensors.

    Args:
        schema: such as "mirror_tiles(Tensor image, Tensor origins, int side) -> Tensor".
        implementation: allocates the result and calls the function of the same name in `_C`.
        fake: returns an empty result of the right shape, dtype and memory format (for torch.compile and export).
    """
    name = schema.partition("(")[0]
    _library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for device in ("CPU", "CUDA"):
        _library.impl(name, implementation, device)
    torch.library.register_fake(f"unet_fast::{name}", fake, lib=_library)


def empty(
    like: torch.Tensor,
    size: Sequence[int],
    memory_format: torch.memory_format = torch.contiguous_format,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Return an uninitialised tensor on the device of `like`, and of its dtype where none is given.

    Large ones on the CPU come from a pool of blocks that are used again (csrc/binding/pool.h), because touching fresh
    pages costs as much as a convolution.
    """
    dtype = dtype or like.dtype
    if type(like) in (torch.Tensor, torch.nn.Parameter) and like.is_cpu:  # not a stand-in, as in torch.compile
        pooled: torch.Tensor | None = _C.pooled_empty(size, dtype, memory_format == torch.channels_last)
        if pooled is not None:
            return pooled
    return torch.empty(size, dtype=dtype, device=like.device, memory_format=memory_format)


def empty_cache() -> None:
    """Return the CPU memory that is kept for later results to the operating system, where none of it is in use."""
    _C.release_free_blocks()


def with_threads_awake(function: Callable[[], Result]) -> Result:
    """Call a function during which torch's threads stay awake for this package's operators on the CPU.

    Between two operators threads fall asleep (at once with OMP_WAIT_POLICY=PASSIVE), and waking them takes as long as a
    small convolution. `UNet.forward` does this itself; a training step gains where its backward pass is in it, too:

        with_threads_awake(lambda: loss_of(net(image)).backward())

    Within, PyTorch's own operators have one thread. In a call of itself, and in torch.compile, it merely calls.

    Args:
        function: takes nothing; may raise.

    Returns:
        What the function returns.
    """
    return function() if torch.compiler.is_compiling() else cast("Result", _C.with_threads_awake(function))


def scratch(tensor: torch.Tensor) -> Callable[[int], torch.Tensor]:
    """Return how a CUDA kernel gets its scratch memory: number of floats -> tensor beside `tensor`."""
    return functools.partial(torch.empty, dtype=torch.float32, device=tensor.device)


def stream(tensor: torch.Tensor) -> int:
    """Return the handle of the CUDA stream that is current on the tensor's device, 0 on the CPU."""
    if not tensor.is_cuda:
        return 0
    return torch.cuda.current_stream(tensor.device).cuda_stream


def allows_tf32(tensor: torch.Tensor) -> bool:
    """Return whether this is float32 on CUDA, whose products may be rounded to TF32: by torch's own switch for them.

    The switch is off by default; `torch.set_float32_matmul_precision("high")` turns it on.
    """
    is_float32 = tensor.is_cuda and tensor.dtype == torch.float32
    return is_float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"


class BuildInfo(NamedTuple):
    """What the compiled module is, and what of it is in use.

    Attributes:
        path: of the module.
        instruction_set: of the CPU kernels in use.
        instruction_sets: that this machine supports, best first.
        cuda_architectures: that CUDA kernels were compiled for, empty where there are none.
    """

    path: str
    instruction_set: str
    instruction_sets: list[str]
    cuda_architectures: str


def build_info() -> BuildInfo:
    """Return what the compiled module is."""
    return BuildInfo(
        path=str(_C.__file__),
        instruction_set=_C.instruction_set(),
        instruction_sets=_C.supported_instruction_sets(),
        cuda_architectures=_C.cuda_architectures,
    )
