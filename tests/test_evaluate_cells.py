"""The evaluate command on label images of cells: sequences of the Cell Tracking Challenge, folders, training sets."""

import json
import re

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.evaluation import cells, scores_of, write
from tests.ome_zarr import write_image
from unet_fast.metrics import ctc
from unet_fast.scoring.pictures import COLOURS


@pytest.mark.parametrize("names", ["t{:03}.tif", "mask{:03}.tif", "01_frame{:d}_labels.tif"])
def test_cell_tracking_sequence(tmp_path, capsys, names):
    truths, found = cells()
    write(tmp_path / "01_GT" / "SEG", ["man_seg000.tif", "man_seg007.tif"], truths)
    write(tmp_path / "01_RES", [names.format(number) for number in (0, 3, 7)], [found[0], found[0], found[1]])
    for truth in (tmp_path, tmp_path / "01_GT", tmp_path / "01_GT" / "SEG"):
        for prediction in (tmp_path, tmp_path / "01_RES"):
            result = scores_of(truth, prediction, output=tmp_path / "out")
            assert result.scores["seg"] == ctc.seg(truths, found)
    assert (result.kind, result.metrics) == ("instances", ("cells",))
    assert result.scores["f1_50"] == ctc.f1_at_iou(truths, found)[0]
    assert result.scores["foreground_iou"] == ctc.iou(truths, found)
    assert result.scores["foreground_dice"] == ctc.dice(truths, found)
    assert result.scores["ap_50_95"] == pytest.approx(np.mean(ctc.average_precision(truths, found)))
    assert [name for name, _ in result.images] == ["01/man_seg000", "01/man_seg007"]
    assert result.images[1][1]["seg"] == ctc.seg(truths[1], found[1])
    printed = capsys.readouterr().out
    assert f'SEG (the paper\'s "IOU")                   {ctc.seg(truths, found):.4f}' in printed
    assert re.search(r"u-net \(2015\) +0.9203 +0.7756\n", printed)
    assert re.search(r"HOUS-US \(2014\) +0.5323 *\n", printed)
    picture = imagecodecs.imread(tmp_path / "out" / "01_man_seg000_errors.png")
    first, second, third, fourth = np.unique(truths[0][truths[0] > 0])[:4]
    for name, where in (
        ("missed", truths[0] == first),
        ("split", truths[0] == second),
        ("merged", (truths[0] == third) | (truths[0] == fourth)),
    ):
        np.testing.assert_array_equal((picture == COLOURS[name]).all(-1), where)


@pytest.mark.parametrize("folders", [True, False])
def test_ome_zarr(tmp_path, folders):
    pytest.importorskip("zarr")
    truths, found = cells()
    write(tmp_path / "truth", ["a.tif", "b.tif"], truths)
    probable = np.stack([found[0] == 0, found[0] > 0]).astype(np.float32)
    for name, labels in zip("ab", found, strict=True):
        write_image(tmp_path / "found" / f"{name}_labels.ome.zarr", "0.5", labels.astype(np.uint32), "YX")
    write_image(tmp_path / "found" / "a_probabilities.ome.zarr", "0.5", probable, "CYX")
    if folders:
        assert scores_of(tmp_path / "truth", tmp_path / "found").scores["seg"] == ctc.seg(truths, found)
        return
    write_image(tmp_path / "truth.zarr", "0.4", truths[1], "YX")
    both = scores_of(tmp_path / "truth.zarr", tmp_path / "found" / "b_labels.ome.zarr")
    assert both.scores["seg"] == ctc.seg(truths[1], found[1])
    write(tmp_path, ["a_probabilities.tif"], [probable])
    files = [tmp_path / "found" / "a_probabilities.ome.zarr", tmp_path / "a_probabilities.tif"]
    chance, same = (scores_of(tmp_path / "truth" / "a.tif", file) for file in files)
    assert chance.scores == same.scores


def test_two_cell_tracking_sequences(tmp_path):
    truths, found = cells(4)
    for sequence, part in (("01", slice(0, 1)), ("02", slice(1, 4))):
        names = [f"{number:03}.tif" for number in range(len(truths[part]))]
        write(tmp_path / "truth" / f"{sequence}_GT" / "SEG", [f"man_seg{name}" for name in names], truths[part])
        write(tmp_path / "found" / f"{sequence}_RES", [f"mask{name}" for name in names], found[part])
    result = scores_of(tmp_path / "truth", tmp_path / "found")
    assert result.scores["seg"] == ctc.seg(truths, found)
    assert result.images[3][0] == "02/man_seg002"


def test_one_slice_of_a_frame_in_three_dimensions(tmp_path):
    truths, found = cells(3)
    write(tmp_path / "01_GT" / "SEG", ["man_seg_000_001.tif", "man_seg_004_002.tif"], truths[1:])
    write(tmp_path / "01_RES", ["mask000.tif", "mask004.tif"], [np.stack(found), np.stack(found)])
    assert scores_of(tmp_path / "01_GT", tmp_path / "01_RES").scores["seg"] == ctc.seg(truths[1:], found[1:])
    write(tmp_path / "01_RES", ["mask004.tif"], [np.stack(found[:2])])
    with pytest.raises(ValueError, match=r"mask004.tif: wanted a plane 2 as the truth shows it, got 2 planes"):
        scores_of(tmp_path / "01_GT", tmp_path / "01_RES")


def test_folders_matched_by_stem(tmp_path, capsys):
    truths, found = cells()
    write(tmp_path / "truth", ["a_masks.tif", "b.tif"], truths)
    write(tmp_path / "found", ["a_labels.tif", "b_pred.tif", "c.tif"], [*found, found[0]])
    result = scores_of(tmp_path / "truth", tmp_path / "found")
    assert [name for name, _ in result.images] == ["a_masks", "b"]
    assert result.scores["seg"] == ctc.seg(truths, found)
    assert "note: 1 predictions have no truth (c.tif)" in capsys.readouterr().out


def test_frames_without_cells(tmp_path):
    truths, found = cells(1)
    empty = np.zeros_like(truths[0])
    write(tmp_path / "truth", ["a.tif", "b.tif"], [truths[0], empty])
    write(tmp_path / "found", ["a.tif", "b.tif"], [found[0], empty])
    result = scores_of(tmp_path / "truth", tmp_path / "found", output=tmp_path / "out")
    assert result.scores["seg"] == ctc.seg(truths[0], found[0])
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["images"]["b"]["seg"] is None


def test_training_folder_as_truth(tmp_path):
    truths, found = cells()
    data = tmp_path / "data"
    write(data / "images", ["a.tif", "b.tif"], truths)
    write(data / "masks", ["a.tif", "b.tif"], truths)
    write(tmp_path / "found", ["a_labels.tif", "b_labels.tif"], found)
    assert scores_of(data, tmp_path / "found").scores["seg"] == ctc.seg(truths, found)


def test_two_files_of_one_frame(tmp_path):
    truths, found = cells()
    write(tmp_path / "01_GT" / "SEG", ["man_seg003.tif"], truths[:1])
    write(tmp_path / "01_RES", ["mask003.tif", "t003.tif"], found)
    with pytest.raises(ValueError, match=r"wanted one file of frame 3, got mask003.tif and t003.tif"):
        scores_of(tmp_path / "01_GT", tmp_path / "01_RES")


def test_real_cells(tmp_path, shared_data):
    truth = shared_data / "dsb2018_fluo" / "01_GT"
    for path in sorted((truth / "SEG").glob("*.tif"))[:3]:
        write(tmp_path / "01_GT" / "SEG", [path.name], [tifffile.imread(path)])
        write(tmp_path / "01_RES", [path.name.replace("man_seg", "mask")], [tifffile.imread(path)])
    result = scores_of(tmp_path / "01_GT", tmp_path / "01_RES")
    assert result.scores["seg"] == result.scores["ap_50_95"] == 1
