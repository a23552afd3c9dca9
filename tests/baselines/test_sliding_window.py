"""The patch classifier: its size, and that its dense evaluation is the one window by window."""

import pytest
import torch

from unet_fast.baselines import SlidingWindow


def test_parameters_of_n4():
    # 48 kernels of 4x4, 5x5, 4x4, 4x4; 200 units that see 3x3x48 values; 2 classes.
    convolutions = (16 * 48 + 48) + (25 * 48 * 48 + 48) + 2 * (16 * 48 * 48 + 48)
    expected = convolutions + (9 * 48 * 200 + 200) + (200 * 2 + 2)
    assert sum(p.numel() for p in SlidingWindow().parameters()) == expected == 219_290


@pytest.mark.parametrize(("window", "side"), [(95, 3), (65, 5), (33, 2)])
def test_sides_that_are_left_of_a_window(window, side):
    assert SlidingWindow(base=2, window=window).hidden.kernel_size == (side, side)


@pytest.mark.parametrize("window", [33, 65, 95])
@pytest.mark.parametrize("extra", [(0, 0), (1, 4), (17, 22)])
def test_dense_evaluation_is_exact(window, extra, generator):
    torch.manual_seed(0)
    net = SlidingWindow(channels=2, classes=3, base=4, window=window).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    image = torch.rand(2, 2, window + extra[0], window + extra[1], dtype=torch.float64, generator=generator)
    with torch.inference_mode():
        dense, slid = net(image), net.slide(image, batch=50)
        assert dense.shape == slid.shape == (2, 3, extra[0] + 1, extra[1] + 1)
        assert (dense - slid).abs().max() <= 1e-12 * slid.abs().max()
        centre = net.classify(image[:, :, extra[0] :, extra[1] :])
    assert torch.allclose(centre, slid[..., -1, -1], rtol=1e-12)
    assert slid.std() > 0


def test_dense_gradient_is_that_of_all_windows(generator):
    torch.manual_seed(0)
    net = SlidingWindow(base=3, window=33).double()
    image = torch.rand(1, 1, 38, 36, dtype=torch.float64, generator=generator)
    direction = torch.randn(1, 2, 6, 4, dtype=torch.float64, generator=generator)
    dense = torch.autograd.grad(net(image), list(net.parameters()), direction)
    slid = torch.autograd.grad(net.slide(image), list(net.parameters()), direction)
    for ours, theirs in zip(dense, slid, strict=True):
        assert theirs.norm() > 0
        assert (ours - theirs).norm() <= 1e-12 * theirs.norm()


def test_errors():
    with pytest.raises(ValueError, match="window: wanted one of 33, 65, 95 pixels, got 64"):
        SlidingWindow(window=64)
    with pytest.raises(ValueError, match="classes: wanted at least 2, got 1"):
        SlidingWindow(classes=1)
    net = SlidingWindow(base=2)
    with pytest.raises(
        ValueError, match=r"legal input side of a sliding window of 95 pixels .* got 94; the nearest is 95"
    ):
        net(torch.zeros(1, 1, 94, 120))
    with pytest.raises(ValueError, match=r"image: wanted shape \[N, 1, H, W\], got \[1, 3, 95, 95\]"):
        net(torch.zeros(1, 3, 95, 95))
    with pytest.raises(ValueError, match=r"patches: wanted shape \[P, 1, 95, 95\], got \[7, 1, 65, 65\]"):
        net.classify(torch.zeros(7, 1, 65, 65))
