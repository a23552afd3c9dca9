"""Prediction of files by runs that are interrupted and go on, and by several processes."""

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from tests.predicting import command, noise, start
from unet_fast.checkpoint import load_model
from unet_fast.predict import main, predict
from unet_fast.prediction import segmenter
from unet_fast.prediction.files import Job
from unet_fast.prediction.network import evaluating
from unet_fast.prediction.ranks import Ranks


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_goes_on_at_the_missing_tiles(tmp_path, run, capsys, kind):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    image = noise((1200, 1200))
    tifffile.imwrite(images / "a.tif", noise((40, 30)))
    tifffile.imwrite(images / "b.tif", image)
    arguments = ["-i", images, "-o", out, "-m", run, "--tile", "60"]  # 60 x 60 tiles
    process = start(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    work = out / ".unfinished" / "out-b_labels"
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (work / "done.raw").is_file() and np.fromfile(work / "done.raw", np.uint8).sum() > 0:
                break
            time.sleep(0.01)
    finally:
        process.send_signal(kind)
        process.wait(60)
    done = np.fromfile(work / "done.raw", np.uint8)
    assert 0 < done.sum() < done.size, "killed at the wrong time"
    assert sorted(path.name for path in out.iterdir()) == [".unfinished", "a_labels.tif"]
    # What is done is not done again: it is marked with a value that the network does not give.
    tile = np.flatnonzero(done)[0]
    y, x = divmod(int(tile), 60)
    classes = np.memmap(work / "classes.raw", np.uint8, "r+", shape=(1200, 1200))
    classes[20 * y : 20 * y + 20, 20 * x : 20 * x + 20] = 9
    classes.flush()
    assert main([*map(str, arguments), "--result", "classes"]) == 0
    assert (out / "a_labels.tif").is_file()
    found = tifffile.imread(out / "b_labels.tif")
    assert (found[20 * y : 20 * y + 20, 20 * x : 20 * x + 20] == 9).all()
    model = load_model(run)
    expected = predict(model.net, image, normalization=model.normalization)
    expected[20 * y : 20 * y + 20, 20 * x : 20 * x + 20] = 9
    assert np.array_equal(found, expected)
    assert sorted(path.name for path in out.iterdir()) == ["a_labels.tif", "b_labels.tif"]


def test_another_job_begins_anew(tmp_path, run):
    tifffile.imwrite(tmp_path / "a.tif", noise((100, 100)))
    out = tmp_path / "out"
    arguments = ["-i", str(tmp_path / "a.tif"), "-o", str(out), "-m", str(run), "--tile", "60", "--result", "classes"]
    assert main(arguments) == 0
    expected = tifffile.imread(out / "a_labels.tif")
    # An unfinished job of another tile size, with nothing right in it.
    model = load_model(run)
    shape = segmenter.Shape(1, (100, 100), 2, None, (80, 80), 9)
    segmenter.Work.create(out / ".unfinished" / "out-a_labels", {"model": "other"}, shape)
    (out / ".unfinished" / "out-a_labels" / "done.raw").write_bytes(b"\1" * 9)
    assert main(arguments) == 0
    assert np.array_equal(tifffile.imread(out / "a_labels.tif"), expected)
    assert model.net.depth == 2


class InTurn(Ranks):
    """Two processes, here threads, of which the first has always done its part before the second begins."""

    barrier = threading.Barrier(2, timeout=60)

    def everywhere(self, action):
        if self.first:
            action()
        self.barrier.wait()
        if not self.first:
            action()
        self.barrier.wait()


def test_no_tile_is_forgotten_where_one_process_is_late(tmp_path, run):
    image, model = noise((100, 100)), load_model(run)
    tifffile.imwrite(tmp_path / "a.tif", image)
    (tmp_path / "unfinished").mkdir()
    job, options = Job(tmp_path / "a.tif", tmp_path / "labels.tif", None), segmenter.Options(instances=False, tile=60)

    def segment(rank):
        with evaluating(model.net, many=False):
            segmenter.Segmenter(model, options, tmp_path / "unfinished", "digest").segment(job, InTurn(rank, 2))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(segment, range(2)))
    expected = predict(model.net, image, normalization=model.normalization)
    assert np.array_equal(tifffile.imread(tmp_path / "labels.tif"), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_processes_share_tiles_or_files(tmp_path, run, count):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(count):
        tifffile.imwrite(images / f"{i}.tif", noise((100, 130)) + i)
    if count > 1:
        (images / "bad.tif").write_bytes(b"text")
    arguments = ["-i", images, "-m", run, "--tile", "60"]
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    process = start(command(*arguments, "-o", tmp_path / "shared", launcher=launcher), stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=100)
    assert (process.returncode == 0) == (count == 1)
    assert "2 processes" in output
    main([*map(str, arguments), "-o", str(tmp_path / "alone")])
    names = [f"{i}_labels.tif" for i in range(count)]
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == names
    for name in names:
        shared, alone = (tifffile.imread(tmp_path / folder / name) for folder in ("shared", "alone"))
        assert np.array_equal(shared, alone) and alone.max() > 0
