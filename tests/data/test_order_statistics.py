"""Percentiles by counting: those of NumPy, which sorts."""

import numpy as np
import pytest

from unet_fast.data.order_statistics import percentiles

RNG = np.random.default_rng(0)
NUMBERS = {
    "normal": RNG.standard_normal(10007).astype(np.float32),
    "positive": RNG.random(999, dtype=np.float32),
    "close": np.float32(1000) + RNG.random(500, dtype=np.float32) * np.float32(1e-3),
    "few": np.array([-0.0, 0.0, -1e-40, 3e38, -3e38], np.float32),
    "one": np.array([2.5], np.float32),
    "constant": np.full(100, -7, np.float32),
    "bytes": RNG.integers(0, 256, 1000).astype(np.uint8),
    "words": RNG.integers(0, 65536, 1000).astype(np.uint16),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wanted", [(0, 100), (1, 99.8), (25, 50), (33.3, 66.6)])
@pytest.mark.parametrize("blocks", [1, 3])
def test_equals_numpy(name, wanted, blocks):
    numbers = NUMBERS[name]
    expected = np.percentile(numbers, wanted, method="inverted_cdf")
    found = percentiles(lambda: np.array_split(numbers, blocks), wanted)
    assert found == pytest.approx(tuple(expected.astype(float)), rel=0, abs=0)
