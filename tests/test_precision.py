"""Which precision is taken where, and what torch is told of it."""

import pytest
import torch

from unet_fast.precision import choose_precision, set_tf32, tf32

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("capability", "chosen"), [((7, 5), "float32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto(monkeypatch, capability, chosen):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", CUDA) == chosen
    assert choose_precision("auto", CPU) == "float32"


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_what_is_named_is_taken(precision):
    assert choose_precision(precision, CPU) == precision


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("tf32", CPU, "precision: tf32 is a mode of CUDA devices, got device cpu"),
        ("float8", CPU, "precision: wanted auto, float32, tf32, bf16, fp16, got float8"),
    ],
)
def test_errors(precision, device, message):
    with pytest.raises(ValueError, match=message):
        choose_precision(precision, device)


@pytest.mark.parametrize("outside", [True, False])
def test_tf32_is_torchs_switch_and_is_put_back(outside):
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    set_tf32(outside)
    for inside in (True, False):
        with pytest.raises(KeyError), tf32(inside):
            assert (matmul.fp32_precision == "tf32") == inside
            raise KeyError
        assert (matmul.fp32_precision == "tf32") == outside
    matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = before
