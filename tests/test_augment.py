"""Random parameters of the augmentation: pure, evenly spread, and the same for image and labels."""

import numpy as np
import pytest
import torch

from unet_fast import ops
from unet_fast.augment import AugmentConfig, identity_warp, random_warp

SIZES = [(512, 512)] * 5
PLAIN = AugmentConfig(elastic=0, rotation=0, rot90=False, flip=False, contrast=1, brightness=0)


def warps(count: int, config: AugmentConfig, size: int = 572, image_size: tuple[int, int] = (512, 512)) -> ops.Warp:
    return random_warp(3, 1, range(count), [image_size], size, config)


def assert_same(a: ops.Warp, b: ops.Warp) -> None:
    for name, x, y in zip(ops.Warp._fields, a, b, strict=True):
        assert torch.equal(x, y), name


def test_shapes_and_dtypes():
    warp = random_warp(0, 0, [4, 7, 9], SIZES, (572, 380), AugmentConfig(zoom=1.5, shift=3))
    assert [tuple(t.shape) for t in warp] == [(3,), (3, 2), (3, 2, 3), (3, 2, 3, 3), (3, 1), (3, 1), (3,), (3,), (3,)]
    assert [t.dtype for t in warp] == [torch.int64] * 2 + [torch.float32] * 6 + [torch.int64]


def test_depends_on_seed_epoch_and_index_alone():
    config = AugmentConfig(zoom=1.5, shift=3)
    together = random_warp(5, 2, range(12), SIZES, 572, config)
    for index in reversed(range(12)):
        alone = random_warp(5, 2, index, SIZES, 572, config)
        assert_same(alone, ops.Warp(*(t[index : index + 1] for t in together)))


def test_known_numbers():
    """The generator is part of what a seed means: a change would be a change of every trained model."""
    warp = random_warp(1, 2, 3, SIZES, 572, AugmentConfig())
    expected = np.random.Philox(key=np.array([1, 2], np.uint64), counter=np.array([0, 0, 3, 0], np.uint64))
    words = (expected.random_raw(31) >> np.uint64(11)) / 2.0**53
    assert warp.origin.tolist() == [[int(words[0] * 125) - 92, int(words[1] * 125) - 92]]
    first = 10 * np.sqrt(-2 * np.log(1 - words[10])) * np.cos(2 * np.pi * words[19])
    assert warp.displacement[0, 0, 0, 0].item() == pytest.approx(first, rel=1e-6)

    assert warp.noise_key.item() == int(words[30] * 2**53)


def test_samples_differ():
    config = AugmentConfig()
    fields = [
        random_warp(*key, SIZES, 572, config).displacement for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    for i, a in enumerate(fields):
        for b in fields[:i]:
            assert not torch.isclose(a, b).any()


def test_each_image_once_per_cycle_in_changing_order():
    sources = random_warp(0, 0, range(50), SIZES, 572, PLAIN).source.view(10, 5)
    assert (sources.sort(1).values == torch.arange(5)).all()
    assert len({tuple(order) for order in sources.tolist()}) > 5


def test_displacement_is_normal_with_standard_deviation_10():
    d = warps(2000, AugmentConfig()).displacement.flatten(1)  # 36000 numbers: errors of 0.05 and 0.04
    assert d.mean().abs() < 0.2
    assert abs(d.std() - 10) < 0.15
    assert abs((d.abs() < 10).float().mean() - 0.6827) < 0.01
    assert (torch.corrcoef(d.T) - torch.eye(18)).abs().max() < 0.12


def test_output_falls_evenly_anywhere_in_the_image():
    origin = warps(4000, AugmentConfig()).origin + 92  # output of 388 in 512
    assert origin.min() == 0
    assert origin.max() == 512 - 388
    for axis in (0, 1):
        assert abs(origin[:, axis].float().mean() - 62) < 2
        assert abs(origin[:, axis].float().std() - 36) < 1.5


@pytest.mark.parametrize(("image_size", "corner"), [((388, 100), (-92, -92 - 144)), ((20, 388), (-92 - 184, -92))])
def test_small_image_is_centred(image_size, corner):
    assert (warps(5, AugmentConfig(), image_size=image_size).origin == torch.tensor(corner)).all()


def test_margin_larger_than_the_crop():
    origin = random_warp(0, 0, range(2000), [(50, 60)], 33, PLAIN, margin=92).origin + 16
    assert origin.min() == 0
    assert origin.max(0).values.tolist() == [49, 59]


@pytest.mark.parametrize("config", [PLAIN, AugmentConfig(enabled=False, zoom=2, shift=5)])
def test_switched_off(config):
    warp = warps(20, config)
    assert_same(warp._replace(noise_key=torch.zeros_like(warp.noise_key)), identity_warp(warp.origin))


def test_orientations_are_exact_and_equally_likely():
    config = AugmentConfig(elastic=0, rotation=0, contrast=1, brightness=0)
    affine = warps(4000, config).affine
    linear, counts = affine[:, :, :2].round().unique(dim=0, return_counts=True)
    assert len(linear) == 8
    assert counts.min() > 400
    assert torch.equal(affine, affine.round())
    corners = torch.tensor([[0.0, 0, 571, 571], [0, 571, 0, 571], [1, 1, 1, 1]])
    assert set((affine @ corners).unique().tolist()) == {0, 571}


def test_rotation_zoom_and_shift():
    config = AugmentConfig(elastic=0, rotation=30, rot90=False, flip=False, zoom=1.5, shift=4)
    affine = warps(2000, config).affine.double()
    scale = affine[:, :, :2].det().sqrt()
    angle = torch.rad2deg(torch.atan2(affine[:, 1, 0], affine[:, 0, 0]))
    assert 1.49 < scale.max() <= 1.5 + 1e-6
    assert 1 / 1.5 - 1e-6 <= scale.min() < 1 / 1.49
    assert abs(scale.log().mean()) < 0.02
    assert 29.8 < angle.max() <= 30.001
    assert -30.001 <= angle.min() < -29.8
    centre = torch.tensor([285.5, 285.5, 1]).double()
    moved = affine @ centre - centre[:2]
    assert 3.98 < moved.abs().max() <= 4.001


def test_grey_values():
    warp = warps(2000, AugmentConfig(grey_centre=0.4))
    assert 1.49 < warp.gain.max() <= 1.5
    assert 1 / 1.5 <= warp.gain.min() < 1 / 1.49
    brightness = warp.gain * 0.4 + warp.bias - 0.4
    assert 0.099 < brightness.abs().max() <= 0.10001


def test_gamma_and_noise():
    warp = warps(2000, AugmentConfig(gamma=2, noise=0.3))
    assert 1.98 < warp.gamma.max() <= 2
    assert 0.5 <= warp.gamma.min() < 0.505
    assert abs(warp.gamma.log().mean()) < 0.03
    assert 0.295 < warp.noise.max() <= 0.3
    assert abs(warp.noise.mean() - 0.15) < 0.01
    assert len(warp.noise_key.unique()) == 2000


def test_one_choice_does_not_change_the_others():
    one, other = warps(5, AugmentConfig()), warps(5, AugmentConfig(flip=False, rot90=False, rotation=0, contrast=1))
    assert torch.equal(one.displacement, other.displacement)
    assert torch.equal(one.origin, other.origin)


@pytest.mark.parametrize("order", ["bilinear", "cubic"])
def test_image_and_labels_stay_aligned(order):
    """An image that shows its labels still does after any warp, except beside the edges between two labels."""
    blocks = torch.randint(0, 200, (1, 1, 10, 10), generator=torch.Generator().manual_seed(0))
    labels = blocks.repeat_interleave(32, 2).repeat_interleave(32, 3)[:, 0]
    warp = random_warp(0, 0, range(6), [(320, 320)], 380, AugmentConfig(zoom=1.2, shift=5))
    warp = warp._replace(gain=torch.ones(6, 1), bias=torch.zeros(6, 1))
    image, warped = ops.elastic_warp(labels[:, None].float(), labels, warp, 380, order=order, labels_margin=92)
    agree = (image[:, 0, 92:-92, 92:-92] - warped).abs() < 1e-3
    assert agree.float().mean() > 0.7
    _, mirrored = ops.elastic_warp(labels[:, None].float(), labels.flip(2), warp, 380, labels_margin=92)
    assert (image[:, 0, 92:-92, 92:-92] == mirrored).float().mean() < 0.1


def test_identity_warp_cuts_out():
    image = torch.rand(3, 1, 40, 40)
    warp = identity_warp(torch.tensor([[2, 3], [10, 0]]), torch.tensor([2, 0]))
    cut, _ = ops.elastic_warp(image, None, warp, 20)
    assert torch.equal(cut, torch.stack([image[2, :, 2:22, 3:23], image[0, :, 10:30, 0:20]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, r"seed: wanted 0 to 2\^64 - 1, got -1"),
        ({"epoch": 1 << 64}, r"epoch: wanted 0 to 2\^64 - 1"),
        ({"index": [0, -3]}, r"index: wanted 0 to 2\^64 - 1, got -3"),
        ({"image_sizes": []}, "image_sizes: wanted at least one image"),
        ({"size": 0}, "size, margin: wanted at least 1 and 0 pixels"),
        ({"margin": -1}, "size, margin: wanted at least 1 and 0 pixels"),
        ({"config": AugmentConfig(elastic=-1)}, "elastic: wanted a number of at least 0, got -1"),
        ({"config": AugmentConfig(zoom=0.5)}, r"zoom: wanted a number of at least 1, got 0\.5"),
        ({"config": AugmentConfig(contrast=float("nan"))}, "contrast: wanted a number of at least 1, got nan"),
        ({"config": AugmentConfig(gamma=0.5)}, r"gamma: wanted a number of at least 1, got 0\.5"),
        ({"config": AugmentConfig(noise=-1)}, "noise: wanted a number of at least 0, got -1"),
        ({"config": AugmentConfig(order="linear")}, "order: wanted bilinear or cubic, got 'linear'"),
    ],
)
def test_errors(change, message):
    arguments = {"seed": 0, "epoch": 0, "index": 0, "image_sizes": SIZES, "size": 572, "config": AugmentConfig()}
    with pytest.raises(ValueError, match=message):
        random_warp(**(arguments | change))
