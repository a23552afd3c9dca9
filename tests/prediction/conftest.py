"""What several tests of prediction need."""

import pytest

from tests.predicting import direct_net, save


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "run", direct_net())
