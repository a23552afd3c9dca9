"""The network as prediction uses it: smaller tiles when memory is short, means over mirrors and rotations."""

import numpy as np
import pytest
import torch

from unet_fast.model import UNet
from unet_fast.predict import predict
from unet_fast.prediction.network import TileNetwork, evaluating


def small_net():
    """Return a network of depth 2: legal sides are 4k from 44 on, results 40 pixels smaller.

    It has few channels, so all its sums are taken directly: the bits do not depend on the size of a tile.
    """
    torch.manual_seed(0)
    return UNet(1, 2, base=2, depth=2).eval()


class Limited(torch.nn.Module):
    """A network that is out of memory beyond a size, and notes the sizes that it computed."""

    def __init__(self, net, largest, error, most=1):
        super().__init__()
        self.net, self.largest, self.error, self.most = net, largest, error, most
        self.sides, self.computed = net.sides, []

    def forward(self, tile, softmax):
        if max(tile.shape[-2:]) > self.largest or len(tile) > self.most:
            raise self.error
        self.computed.append(tuple(tile.shape[-2:]))
        return self.net(tile, softmax=softmax)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
]


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "python", "torch"])
@pytest.mark.parametrize("size", [(76, 76), (48, 92), (80, 60)])
def test_short_of_memory_it_goes_on_with_smaller_tiles(size, error, generator):
    net = small_net()
    tile = torch.rand(1, 1, *size, generator=generator)
    limited = Limited(net, 52, error)
    with torch.inference_mode():
        network = TileNetwork(limited)
        found = network(tile)
        expected = net(tile, softmax=True)
    assert torch.equal(found, expected)
    assert len(limited.computed) > 1
    limited.computed.clear()
    with torch.inference_mode():
        assert torch.equal(network(tile), expected)
    assert len(limited.computed) > 1


@pytest.mark.parametrize("error", ERRORS, ids=["cuda", "python", "torch"])
@pytest.mark.parametrize(("largest", "most"), [(76, 2), (76, 1), (52, 1)])
def test_short_of_memory_it_goes_on_with_fewer_tiles(largest, most, error, generator):
    net = small_net()
    tiles = torch.rand(5, 1, 76, 76, generator=generator)
    limited = Limited(net, largest, error, most)
    with torch.inference_mode():
        network = TileNetwork(limited)
        found = network(tiles)
        expected = torch.cat([net(tile[None], softmax=True) for tile in tiles])
    assert torch.equal(found, expected)
    assert (network.most, network.largest) == (most, None if largest == 76 else 56)


def test_not_even_the_smallest_tile():
    with pytest.raises(MemoryError, match="not even a tile of 44 pixels fits into memory"):
        TileNetwork(Limited(small_net(), 40, MemoryError()))(torch.zeros(1, 1, 76, 76))


def test_other_errors_are_raised():
    with pytest.raises(RuntimeError, match="something else"):
        TileNetwork(Limited(small_net(), 40, RuntimeError("something else")))(torch.zeros(1, 1, 76, 76))


@pytest.mark.parametrize(("average", "count"), [("none", 1), ("mirrors", 4), ("all", 8)])
def test_the_mean_over_turns(average, count, generator):
    net, tile = small_net(), torch.rand(1, 1, 48, 60, generator=generator)
    with torch.inference_mode():
        found = TileNetwork(net, average)(tile)
        expected = torch.zeros(1, 2, 8, 20)
        for turns in range(0, 4, 2 if average == "mirrors" else 1):
            for mirrored in (False, True):
                turned = torch.rot90(tile.flip(-1) if mirrored else tile, turns, (-2, -1))
                back = torch.rot90(net(turned).softmax(1), -turns, (-2, -1))
                expected += (back.flip(-1) if mirrored else back) / count
                if average == "none":
                    break
            if average == "none":
                break
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("average", ["mirrors", "all"])
def test_the_mean_is_seamless(average, generator):
    net = small_net()
    image = torch.rand(31, 38, generator=generator).numpy()
    whole = predict(net, image, 80, probabilities=True, average=average)
    for tile in (44, 52, (48, 60)):
        np.testing.assert_array_equal(predict(net, image, tile, True, average=average), whole)
    assert abs(whole - predict(net, image, probabilities=True)).max() > 1e-3


def test_the_network_is_left_as_it_was():
    net = UNet(base=16)
    with pytest.raises(KeyError), evaluating(net, many=True):
        assert not net.training and net._packed and torch.is_inference_mode_enabled()
        raise KeyError
    assert net.training and not net._packed
