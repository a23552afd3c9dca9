"""How the compiled module reads torch's tensors, and which it refuses."""

import pytest
import torch

from unet_fast.ops._native import _C, empty

MAPS = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).view(2, 4, 6, 3).permute(0, 3, 1, 2)  # channels_last


class Subclass(torch.Tensor):
    pass


def max_pool(x):
    y = torch.empty(2, 3, 2, 3).to(memory_format=torch.channels_last)
    _C.max_pool(x, y, 0)
    return y


@pytest.mark.parametrize(
    "x",
    [
        MAPS,
        torch.nn.Parameter(MAPS),
        MAPS.as_subclass(Subclass),
        torch.cat([MAPS, MAPS])[2:],  # begins inside its storage
    ],
    ids=["tensor", "parameter", "subclass", "offset"],
)
def test_read(x):
    assert max_pool(x).equal(MAPS[:, :, 1::2, 1::2])


@pytest.mark.parametrize(
    "x",
    [
        None,
        MAPS.numpy(),
        MAPS.tolist(),
        MAPS.to_sparse(),
        MAPS.to("meta"),
        MAPS.to(torch.int8),
        MAPS.to(torch.complex64),
        MAPS.to(torch.float8_e4m3fn),
        MAPS.view(1, 1, 1, 2, 3, 4, 6),
    ],
    ids=["None", "numpy", "list", "sparse", "meta", "int8", "complex", "float8", "7 dimensions"],
)
def test_refused(x):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        max_pool(x)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.float16, torch.bfloat16, torch.float64, torch.bool])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_large_results_are_as_torch_makes_them(dtype, memory_format):
    size = (2, 3, 512, 700)
    before = _C.lent_bytes()
    ours, other = (
        empty(torch.zeros(1), size, memory_format, dtype),
        torch.empty(size, dtype=dtype, memory_format=memory_format),
    )
    assert _C.lent_bytes() > before
    assert (ours.shape, ours.stride(), ours.dtype, ours.device) == (
        other.shape,
        other.stride(),
        other.dtype,
        other.device,
    )


def test_dtypes_that_no_kernel_knows_come_from_torch():
    before = _C.lent_bytes()
    assert empty(torch.zeros(1), (1 << 20,), dtype=torch.complex64).dtype == torch.complex64
    assert _C.lent_bytes() == before
