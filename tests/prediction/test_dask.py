"""Prediction as a graph of dask: the same bits as of an array, on any scheduler, and when a worker is lost."""

import os
import pickle
import signal

import numpy as np
import pytest

from tests.ome_zarr import write_image
from tests.predicting import direct_net, noise
from unet_fast.data import Normalization
from unet_fast.model import UNet
from unet_fast.predict import predict
from unet_fast.prediction.dask_arrays import TravellingNetwork

da = pytest.importorskip("dask.array")


class CountedUNet(UNet):
    """A network that leaves a file where it is unpickled: one for each process that has made one of it."""

    folder = ""

    def __setstate__(self, state):
        super().__setstate__(state)
        with open(os.path.join(self.folder, f"{os.getpid()}.loaded"), "a") as file:
            file.write("x")


@pytest.mark.parametrize("chunks", [(7, 90), (64, 64), -1])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("kind", ["percentile", "zscore", "none"])
def test_the_same_bits(chunks, probabilities, kind):
    image, options = noise((61, 83)), {"probabilities": probabilities, "normalization": Normalization(kind)}
    found = predict(direct_net(), da.from_array(image, chunks=chunks), 60, **options)
    assert found.chunks[-2:] == ((16, 16, 16, 13), (20, 20, 20, 20, 3))
    expected = predict(direct_net(), image, 100, **options)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    for scheduler in ("synchronous", "threads"):
        assert np.array_equal(found.compute(scheduler=scheduler), expected)


def test_channels_and_turns():
    image = np.random.default_rng(0).random((3, 50, 70))
    found = predict(direct_net(3), da.from_array(image, chunks=(1, 20, 20)), 52, average="all")
    assert np.array_equal(found.compute(), predict(direct_net(3), image, average="all"))


def test_only_what_is_asked_for_is_computed():
    windows = []

    def read(block, block_info=None):
        windows.append(block_info[0]["chunk-location"])
        return block

    image = noise((400, 400))
    lazy = da.from_array(image, chunks=(50, 50)).map_blocks(read, dtype=image.dtype, meta=np.zeros((0, 0), image.dtype))
    found = predict(direct_net(), lazy, 60)
    assert windows == []
    corner = found[:20, :20].compute(scheduler="synchronous")
    assert np.array_equal(corner, predict(direct_net(), image)[:20, :20]) and set(windows) == {(0, 0)}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_path_of_an_image(tmp_path, version):
    pytest.importorskip("zarr")
    pixels = noise((2, 1, 3, 50, 40))
    write_image(tmp_path / "a.ome.zarr", version, pixels, "TCZYX")
    found = predict(direct_net(), tmp_path / "a.ome.zarr", 60, probabilities=True, normalization=Normalization())
    assert found.shape == (2, 3, 2, 50, 40)
    for t, z in np.ndindex(2, 3):
        expected = predict(direct_net(), pixels[t, :, z], probabilities=True, normalization=Normalization())
        assert np.array_equal(found[t, z].compute(), expected)


def test_the_network_is_that_of_the_call():
    net, image = direct_net().train(), noise((30, 30))
    expected = predict(net, image)
    found = predict(net, da.from_array(image))
    for parameter in net.parameters():
        parameter.data.zero_()
    assert np.array_equal(found.compute(), expected) and net.training


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 20, 20)), r"image: wanted 1 channel\(s\), as the network has, got 2"),
        (np.zeros((1, 1, 20, 20)), r"image: wanted shape \[H, W\] or \[C, H, W\], got \[1, 1, 20, 20\]"),
        (np.zeros((20, 20), np.int32), "image: wanted bool, uint8, uint16 or floating-point numbers, got int32"),
        (np.zeros((20, 20), complex), "image: wanted an image of real numbers, got complex128"),
        (np.zeros((0, 20)), "image: wanted at least one pixel"),
    ],
)
def test_errors(image, message):
    with pytest.raises(ValueError, match=message):
        predict(direct_net(), da.from_array(image))


def test_errors_of_a_tile(tmp_path):
    with pytest.raises(ValueError, match="image: wanted finite values, got nan or infinity"):
        predict(direct_net(), da.from_array(np.full((30, 30), np.nan))).compute()
    with pytest.raises(ValueError, match="cannot be read as an OME-Zarr image"):
        predict(direct_net(), tmp_path)


def killed_once(block, marker, block_info=None):
    """Give the pixels of a block; the process that first reads the last one is killed."""
    if block_info[0]["chunk-location"] == (2, 2):
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
        except FileExistsError:
            pass
    return block


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_worker_is_killed_on_the_way(tmp_path):
    distributed = pytest.importorskip("distributed")
    image = noise((150, 150))
    net = CountedUNet(1, 2, base=2, depth=2)
    net.load_state_dict(direct_net().state_dict())
    net.folder = str(tmp_path)
    lazy = da.from_array(image, chunks=(50, 50)).map_blocks(
        killed_once, marker=str(tmp_path / "killed"), dtype=image.dtype, meta=np.zeros((0, 0), image.dtype)
    )
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = set(client.run(os.getpid).values())
        found = predict(net, lazy, 60).compute()
        assert len(workers - set(client.run(os.getpid).values())) == 1
    assert (tmp_path / "killed").exists()
    assert np.array_equal(found, predict(direct_net(), image))
    loaded = {path.name: path.read_text() for path in tmp_path.glob("*.loaded")}
    assert 1 <= len(loaded) <= 3 and set(loaded.values()) == {"x"}  # once in each process, not for each tile
    assert f"{os.getpid()}.loaded" not in loaded


def test_the_key_tells_networks_apart():
    payload = pickle.dumps(direct_net())
    keys = {
        TravellingNetwork(payload, 2, *rest).key
        for rest in (
            ("none", "float32", True),
            ("all", "float32", True),
            ("none", "bf16", True),
            ("none", "float32", False),
        )
    }
    assert len(keys | {TravellingNetwork(payload + b"x", 2, "none", "float32", True).key}) == 5
