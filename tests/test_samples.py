"""Training samples: a pure function of (seed, epoch, index), whoever makes them."""

import pytest
import torch
from torch.utils.data import DataLoader

from unet_fast.augment import AugmentConfig
from unet_fast.config import TrainConfig
from unet_fast.data import synthetic_cells
from unet_fast.samples import Batch, Epoch, Sampler

AUGMENT = AugmentConfig(zoom=1.2, shift=3, gamma=1.5, noise=0.05)


def sampler(device: torch.device | str = "cpu", seed: int = 0) -> Sampler:
    config = TrainConfig(tile=188 + 16, batch_size=2, seed=seed, augment=AUGMENT)
    return Sampler(synthetic_cells(3, 120, seed=1), torch.tensor([0.8, 1.3]), config, torch.device(device))


def assert_same(a: Batch, b: Batch) -> None:
    for name, x, y in zip(Batch._fields, a, b, strict=True):
        assert torch.equal(x.cpu(), y.cpu()), name


@pytest.fixture(scope="module")
def expected() -> list[Batch]:
    made = sampler()
    return [Epoch(made, 1)[step] for step in range(6)]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_worker_count_changes_nothing(expected, workers):
    class Steps(Epoch):
        def __len__(self) -> int:
            return len(expected)

    loader = DataLoader(Steps(sampler(), 1), batch_size=None, num_workers=workers)
    batches = list(loader)
    assert len(batches) == len(expected)
    for a, b in zip(batches, expected, strict=True):
        assert_same(Batch(*a), b)


def test_order_threads_and_neighbours_change_nothing(expected):
    made, threads = sampler(), torch.get_num_threads()
    try:
        for step in (5, 0, 3):
            torch.set_num_threads(1 + step % 2)
            assert_same(Epoch(made, 1)[step], expected[step])
    finally:
        torch.set_num_threads(threads)


def test_a_batch_is_its_samples(expected):
    made = sampler()
    for i in range(2):
        assert_same(made.batch(1, [i]), Batch(*(part[i : i + 1] for part in expected[0])))


def test_device_changes_nothing(device, expected):
    batch = Epoch(sampler(device), 1)[2]
    assert torch.equal(batch.image.cpu(), expected[2].image)
    assert torch.equal(batch.classes.cpu(), expected[2].classes)
    torch.testing.assert_close(batch.weights.cpu(), expected[2].weights, rtol=1e-6, atol=1e-6)


def test_seed_epoch_and_step_change_everything(expected):
    for other in (Epoch(sampler(seed=1), 1)[0], Epoch(sampler(), 0)[0], expected[1]):
        assert not torch.isclose(other.image, expected[0].image).float().mean() > 0.1


def test_length_of_an_epoch():
    made = sampler()
    assert len(Epoch(made, 0)) == made.steps_per_epoch()
