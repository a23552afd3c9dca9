"""Normalisation: what becomes 0 and 1, and that a model can repeat it."""

import json

import numpy as np
import pytest
import torch

from unet_fast import ops
from unet_fast.data import Normalization


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_percentiles_of_each_channel(dtype):
    random = np.random.default_rng(0)
    image = (random.random((2, 100, 90)) * 200 + 20).astype(dtype)
    image[1] //= 2
    normal = Normalization().apply(image)
    for channel, result in zip(image, normal, strict=True):
        low, high = np.percentile(channel.astype(np.float64), [1, 99.8], method="inverted_cdf")
        np.testing.assert_allclose(result, (channel - low) / (high - low), atol=1e-5)


def test_whole_and_real_numbers_have_the_same_percentiles():
    image = np.random.default_rng(0).integers(0, 4096, (1, 64, 64)).astype(np.uint16)
    for low, high in ((0, 100), (1, 99.8), (5, 50)):
        numbers = Normalization(low=low, high=high).scale_and_offset(image)
        same = Normalization(low=low, high=high).scale_and_offset(image.astype(np.float32))
        np.testing.assert_allclose(numbers, same, rtol=1e-6)


def test_the_range_when_the_percentiles_coincide():
    image = np.zeros((1, 50, 50), np.uint8)
    image[0, 0, 0] = 200
    assert Normalization().apply(image).max() == 1
    assert Normalization().apply(image).min() == 0


@pytest.mark.parametrize("kind", ["percentile", "zscore"])
def test_a_constant_channel_becomes_zero(kind):
    assert (Normalization(kind).apply(np.full((1, 4, 4), 77, np.uint16)) == 0).all()


def test_zscore():
    normal = Normalization("zscore").apply(np.random.default_rng(0).integers(0, 65535, (1, 80, 80)).astype(np.uint16))
    assert normal.mean() == pytest.approx(0, abs=1e-4)
    assert normal.std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("dtype", "highest"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_dtype(dtype, highest):
    image = np.array([[[0, highest]]], dtype)
    assert Normalization("dtype").apply(image).tolist() == [[[0, 1]]]


def test_none():
    scale, offset = Normalization("none").scale_and_offset(np.full((3, 4, 4), 77, np.uint16))
    assert (scale.tolist(), offset.tolist()) == ([1, 1, 1], [0, 0, 0])


def test_operators_take_the_two_numbers():
    image = np.random.default_rng(0).integers(100, 4000, (2, 30, 40)).astype(np.uint16)
    scale, offset = map(torch.from_numpy, Normalization().scale_and_offset(image))
    tile = ops.mirror_tiles(
        torch.from_numpy(image), torch.zeros(1, 2, dtype=torch.int64), (30, 40), scale=scale, offset=offset
    )
    np.testing.assert_allclose(tile[0].numpy(), Normalization().apply(image), atol=1e-6)


def test_can_be_stored():
    normalization = Normalization("percentile", 0.5, 99)
    assert Normalization.from_dict(json.loads(json.dumps(normalization.to_dict()))) == normalization


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "minmax"}, "kind: wanted percentile, zscore, dtype, none, got 'minmax'"),
        ({"low": 60, "high": 40}, "wanted 0 <= low < high <= 100, got 60 and 40"),
        ({"high": 101}, "wanted 0 <= low < high <= 100"),
        ({"gamma": 2}, "unknown setting gamma"),
    ],
)
def test_setting_errors(settings, message):
    with pytest.raises(ValueError, match="normalization: " + message):
        Normalization.from_dict(settings)


def test_shape_error():
    with pytest.raises(ValueError, match=r"normalization: image: wanted shape \[C, H, W\], got \[4, 4\]"):
        Normalization().scale_and_offset(np.zeros((4, 4), np.uint8))
