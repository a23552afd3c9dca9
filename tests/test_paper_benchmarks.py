"""The scripts that repeat the paper's evidence: what they share, and that each runs from data to table."""

import csv

import numpy as np
import pytest
import torch

from benchmarks.paper import border, elastic, experiment, systems, weight_map, window_size
from tests.training import write_cells
from unet_fast.baselines import SlidingWindow
from unet_fast.checkpoint import Model
from unet_fast.data import LabelledImages, Normalization
from unet_fast.model import UNet
from unet_fast.predict import predict


@pytest.mark.parametrize(
    ("script", "rows"), [(systems, 6), (window_size, 3), (weight_map, 4), (elastic, 4), (border, 2)]
)
def test_from_data_to_table(script, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "TIMED_SIDE", 64)
    monkeypatch.setattr(experiment, "TIMED_ROUNDS", 1)
    monkeypatch.setattr(systems, "_WINDOWS", 32)
    data = write_cells(tmp_path / "data", count=3)
    output = tmp_path / "out"
    script.main([str(data), "--output", str(output), "--size", "tiny", "--steps", "1", "--minutes", "0.001"])
    with (output / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == rows
    assert all(0 <= float(row["seg"]) <= 1 for row in table)
    assert "Trained on 2 images, scored on 1 others" in (output / "table.md").read_text()
    assert (output / "figure.png").stat().st_size > 1000


def test_widths_and_systems_are_chosen(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "TIMED_SIDE", 64)
    data, output = write_cells(tmp_path / "data", count=2), tmp_path / "out"
    chosen = ["--systems", "sliding_window", "unet", "--base", "3", "--window-base", "5"]
    systems.main([str(data), "--output", str(output), "--size", "tiny", "--minutes", "0.001", *chosen])
    with (output / "table.csv").open() as file:
        found = {row["system"]: int(row["parameters"]) for row in csv.DictReader(file)}
    window, unet = (
        sum(p.numel() for p in net.parameters()) for net in (SlidingWindow(classes=2, base=5), UNet(base=3))
    )
    assert found == {"sliding_window, one by one": window, "sliding_window, dense": window, "unet": unet}


@pytest.mark.parametrize(("kind", "border"), [("unet", 10.0), ("sliding_window", 0.0), ("fcn8s", 0.0)])
def test_the_border_term_is_the_unets_alone(kind, border, tmp_path, monkeypatch):
    configs = []

    class Recorder:
        model = None

        def __init__(self, config, images, folder):
            configs.append(config)

        def fit(self):
            pass

    monkeypatch.setattr(experiment, "Trainer", Recorder)
    options, size = experiment.parse(experiment.command_line(""), ["data", "--output", str(tmp_path), "--base", "5"])
    experiment.train(None, options, size, model=kind)
    experiment.train(None, options, size, model=kind, border=3.0)
    assert [config.border for config in configs] == [border, 3.0]
    assert configs[0].base == (12 if kind == "sliding_window" else 5)


def test_tables_are_written(tmp_path):
    table = experiment.Table("t", {"a": ("A", ""), "b": ("B", ".2f")}, [{"a": "x", "b": 0.5}, {"a": "y"}], ["note"])
    table.write(tmp_path, experiment.draw_bars("a", ("b", "B")))
    assert (tmp_path / "table.md").read_text() == "# t\n\n| A | B |\n| --- | ---: |\n| x | 0.50 |\n| y |  |\n\nnote  \n"
    assert (tmp_path / "table.csv").read_text().splitlines() == ["a,b", "x,0.5", "y,"]


def test_zeros_change_only_what_sees_the_border(generator):
    torch.manual_seed(0)
    net = UNet(base=2, depth=2)
    model = Model(net, Normalization("none"))
    image = np.random.default_rng(0).random((1, 90, 101), np.float32)
    zeros = border.predict_with_zeros(model, image)
    mirrored = 1 - predict(net, image, probabilities=True)[0]
    margin = net.sides.border // 2 + net.sides.grid  # what a pixel sees depends on its place between pools
    assert np.abs(zeros - mirrored)[margin:-margin, margin:-margin].max() < 1e-5
    assert np.abs(zeros - mirrored)[0].max() > 1e-4


def test_wrong_pixels_by_distance():
    truth, found = np.zeros((200, 210), np.uint8), np.zeros((200, 210))
    found[0] = found[:, -1] = 1
    found[100, 100] = 1
    shares = border.wrong_by_distance([truth], [found])
    outer = 200 * 210 - 184 * 194
    assert shares[0] == pytest.approx((200 + 210 - 1) / outer)
    assert shares[1:4] == [0, 0, 0]
    assert shares[4] == pytest.approx(1 / (16 * 26))


def test_merged_ceiling():
    labels = np.zeros((8, 12), np.int32)
    labels[1:7, 1:5], labels[1:7, 5:8], labels[1:7, 10] = 1, 2, 3
    images = LabelledImages([np.zeros((1, 8, 12), np.uint8)], [labels], ["a"])
    # Cells of 24 and 18 pixels become one of 42: each is covered, and counts its share; the third one is found.
    assert weight_map.merged_ceiling(images) == pytest.approx((24 / 42 + 18 / 42 + 1) / 3)
