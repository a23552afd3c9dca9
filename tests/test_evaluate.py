"""The evaluate command: which scores fit, what is printed and written, what is refused."""

import csv
import json

import imagecodecs
import numpy as np
import pytest
from scipy import ndimage

from tests.evaluation import cells, membranes, scores_of, write
from unet_fast.data import write_labels, write_probabilities
from unet_fast.evaluate import main
from unet_fast.metrics import em
from unet_fast.scoring.pictures import COLOURS


def test_stacks_of_membranes(tmp_path, capsys):
    truth, chance = membranes(3)
    write(tmp_path, ["truth.tif", "found.tif"], [truth, chance])
    assert main([str(tmp_path / "truth.tif"), str(tmp_path / "found.tif"), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    for line in (
        rf"warping error (splits and merges)       {em.warping_error(truth, chance):.6f}",
        rf"Rand error (1 - F)                        {em.rand_error(truth, chance):.4f}",
        rf"pixel error (1 - F)                       {em.pixel_error(truth, chance):.4f}",
        rf"V_Rand (thinned)                          {em.vrand_thinned(truth, chance):.4f}",
        "3 images, mask",
        "hidden test set",
        " 1. u-net                             0.000353    0.0382    0.0611",
        "10. IDSIA-SCI                         0.000653    0.0189    0.1027",
        "human values                          0.000005    0.0021    0.0010",
    ):
        assert line in printed
    assert "PhC-U373" not in printed

    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["truth[0]", "truth[1]", "truth[2]", "all"]
    assert float(rows[1]["rand_error"]) == pytest.approx(em.rand_error(truth[1], chance[1]))
    assert float(rows[3]["warping_error"]) == pytest.approx(em.warping_error(truth, chance))

    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["scores"]["pixel_error"] == em.pixel_error(truth, chance)
    assert content["tables"]["membranes"]["rand_f_score"] == list(em.rand_scores(truth, chance).score)
    assert content["images"]["truth[2]"]["wrong_pixels"] == pytest.approx(((chance[2] > 0.5) != (truth[2] > 0)).mean())
    assert content["published"]["membranes"]["rows"][0][0] == "human values"
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert pictures == ["truth_0_errors.png", "truth_1_errors.png", "truth_2_errors.png"]


def test_pictures_of_membranes(tmp_path):
    truth, _ = membranes(1)
    found = truth[0] > 0
    found[10:20, 10:20] = ~found[10:20, 10:20]
    write(tmp_path, ["truth.tif", "found.tif"], [truth[0], found.astype(np.uint8)])
    scores_of(tmp_path / "truth.tif", tmp_path / "found.tif", output=tmp_path / "out")
    picture = imagecodecs.imread(tmp_path / "out" / "truth_errors.png")
    assert picture.shape == (48, 56, 3)
    interior = truth[0] > 0
    expected = {"missed": interior & ~found, "false": ~interior & found}
    spots = np.any([(picture == COLOURS[name]).all(-1) for name in ("split", "merged")], axis=0)
    for name, where in expected.items():
        np.testing.assert_array_equal((picture == COLOURS[name]).all(-1) | spots, where | spots)
    assert expected["missed"].any() and expected["false"].any()
    np.testing.assert_array_equal((picture == COLOURS["agreed foreground"]).all(-1) | spots, (interior & found) | spots)


def test_labels_and_probabilities_of_one_image(tmp_path):
    truth, chance = membranes(1)
    write(tmp_path, ["train-labels.tif"], truth)
    found = tmp_path / "found"
    found.mkdir()
    mask = (chance[0] > 0.5).astype(np.uint16)
    write_labels(found / "train-volume_labels.tif", mask)
    write_probabilities(found / "train-volume_probabilities.tif", np.stack([1 - chance[0], chance[0]]))
    both = scores_of(tmp_path / "train-labels.tif", found, metrics="both")
    assert both.metrics == ("membranes", "cells")
    assert both.scores["rand_error"] == pytest.approx(em.rand_error(truth[0], chance[0]))
    assert both.scores["warping_error"] == em.warping_error(truth[0], chance[0])
    alone = scores_of(tmp_path / "train-labels.tif", found / "train-volume_labels.tif")
    assert alone.metrics == ("membranes",)
    assert alone.scores["rand_error"] == em.rand_error(truth[0], mask)
    assert alone.scores["pixel_error"] == em.pixel_error(truth[0], mask)
    lone = scores_of(tmp_path / "train-labels.tif", found / "train-volume_probabilities.tif")
    assert lone.scores["rand_error"] == both.scores["rand_error"]


@pytest.mark.parametrize("stored", ["uint8", "uint16", "float32", "npy"])
def test_probabilities_however_stored(tmp_path, stored):
    truth, chance = membranes(2)
    eight = np.round(chance * 255).astype(np.uint8)
    write(tmp_path, ["truth.tif"], [truth])
    image = {"uint8": eight, "uint16": eight.astype(np.uint16) * 257}.get(stored, eight / np.float32(255))
    if stored == "npy":
        np.save(tmp_path / "found.npy", image)
    else:
        write(tmp_path, ["found.tif"], [image])
    path = tmp_path / ("found.npy" if stored == "npy" else "found.tif")
    kind = "probabilities" if stored == "uint16" else "auto"  # 16 bits are taken for labels unless told otherwise
    found = scores_of(tmp_path / "truth.tif", path, prediction_kind=kind)
    assert found.scores["rand_error"] == pytest.approx(em.rand_error(truth, eight))
    assert found.scores["warping_error"] == em.warping_error(truth, eight)


def test_membranes_of_touching_cells(tmp_path):
    # Ids that touch are cut apart by a line before membranes are scored; an equal prediction has no error.
    truths, found = cells()
    write(tmp_path / "truth", ["a.tif", "b.tif"], truths)
    write(tmp_path / "found", ["a.tif", "b.tif"], truths)
    result = scores_of(tmp_path / "truth", tmp_path / "found", metrics="both")
    assert [result.scores[name] for name in ("rand_error", "pixel_error", "warping_error")] == [0, 0, 0]
    assert result.scores["seg"] == result.scores["f1_50"] == 1
    write(tmp_path / "found", ["a.tif", "b.tif"], found)
    result = scores_of(tmp_path / "truth", tmp_path / "found", metrics="membranes")
    assert result.scores["rand_error"] > 0
    assert "seg" not in result.scores


def test_a_mask_against_cells_is_cut_into_its_pieces(tmp_path):
    truths, _ = cells(1)
    eroded = [ndimage.grey_erosion(truth, 3) * (ndimage.grey_dilation(truth, 3) == truth) for truth in truths]
    write(tmp_path, ["truth.tif", "found.tif"], [eroded[0], ((eroded[0] > 0) * 255).astype(np.uint8)])
    assert scores_of(tmp_path / "truth.tif", tmp_path / "found.tif").scores["seg"] > 0.9


def test_classes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    truth = (rng.integers(0, 3, (20, 20)) * 40).astype(np.uint8)
    found = np.where(rng.random(truth.shape) < 0.8, truth, 40).astype(np.uint8)
    write(tmp_path, ["truth.tif", "found.tif"], [truth, found])
    result = scores_of(tmp_path / "truth.tif", tmp_path / "found.tif", output=tmp_path / "out")
    assert (result.kind, result.metrics) == ("classes", ("classes",))
    printed = capsys.readouterr().out
    for code in (0, 40, 80):
        expected = ((truth == code) & (found == code)).sum() / ((truth == code) | (found == code)).sum()
        assert result.scores[f"iou_{code}"] == pytest.approx(expected)
        assert f"IoU of class {code:<25}{expected:>10.4f}" in printed
    assert result.scores["wrong_pixels"] == pytest.approx((truth != found).mean())
    write(tmp_path, ["found.tif"], [found + 1])
    with pytest.raises(ValueError, match=r"found.tif: wanted the classes of the truth, \(0, 40, 80\), got 1"):
        scores_of(tmp_path / "truth.tif", tmp_path / "found.tif")


def test_ignored_pixels_of_a_training_set(tmp_path):
    # nnU-Net's "ignore" is a class that counts for nothing.
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (20, 20)).astype(np.uint8)
    found = rng.integers(0, 3, (20, 20)).astype(np.uint8)
    data = tmp_path / "Dataset001_Cells"
    write(data / "imagesTr", ["a_0000.tif"], [truth])
    write(data / "labelsTr", ["a.tif"], [truth])
    labels = {"background": 0, "cell": 1, "nucleus": 2, "ignore": 3}
    channels = {"0": "phase"}
    description = {"channel_names": channels, "labels": labels, "numTraining": 1, "file_ending": ".tif"}
    (data / "dataset.json").write_text(json.dumps(description))
    write(tmp_path / "found", ["a_labels.tif"], [found])
    result = scores_of(data, tmp_path / "found")
    assert result.metrics == ("classes",)
    counted = truth < 3
    assert result.scores["wrong_pixels"] == pytest.approx((truth != found)[counted].mean())


ERRORS = {
    "no truth": (["nowhere", "found"], "truth: wanted a file or folder, found none at nowhere"),
    "no prediction": (["truth", "nowhere"], "prediction: wanted a file or folder, found none at nowhere"),
    "file for folder": (
        ["truth", "found/a.tif"],
        "prediction: wanted a folder as the truth truth is one, got the file found/a.tif",
    ),
    "missing": (
        ["truth", "found"],
        "wanted a file for each truth in truth, found none for b.tif in found, which holds a",
    ),
    "size": (
        ["truth/a.tif", "small.tif"],
        "small.tif: wanted the size of the truth truth/a.tif, 120x120, got 100x120",
    ),
    "pages": (
        ["truth/a.tif", "stack.tif"],
        "stack.tif: wanted the size of the truth truth/a.tif, 120x120, got 2 pages of 120x120",
    ),
    "frame": (["01_GT", "found"], "man_seg003.tif: wanted its prediction, frame 3, in found, found none"),
    "range": (["truth/a.tif", "logits.tif"], "logits.tif: wanted probabilities in 0..1, got -2..3.5"),
    "empty": (["nothing", "found"], "truth: wanted a folder of label images, found none in nothing"),
    "ambiguous": (["truth/b.tif", "many"], "prediction: wanted that of truth/b.tif in many, found x.tif, y.tif"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    truths, found = cells()
    write(tmp_path / "truth", ["a.tif", "b.tif"], truths)
    write(tmp_path / "found", ["a.tif"], found[:1])
    write(tmp_path / "many", ["x.tif", "y.tif"], found)
    write(tmp_path / "01_GT" / "SEG", ["man_seg003.tif"], truths[:1])
    logits = np.linspace(-2, 3.5, 120 * 120, dtype=np.float32).reshape(120, 120)
    write(tmp_path, ["small.tif", "stack.tif", "logits.tif"], [found[0][:100], np.stack(found), logits])
    (tmp_path / "nothing").mkdir()
    arguments, message = ERRORS[case]
    assert main(arguments) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and message in printed


def test_labels_and_probabilities_of_different_sizes(tmp_path):
    truth, chance = membranes(1)
    write(tmp_path / "truth", ["a.tif"], truth)
    write(tmp_path / "found", ["a_labels.tif", "a_prob.tif"], [truth[0], chance[0][:40]])
    with pytest.raises(ValueError, match=r"a_prob.tif: wanted the size of .*a_labels.tif, 48x56, got 40x56"):
        scores_of(tmp_path / "truth", tmp_path / "found")
