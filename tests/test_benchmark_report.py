"""The report of a benchmark run: its tables, its charts and the comparison of two runs."""

import json

import pytest

from benchmarks import report


def bench(name, group, ours, other, **extra):
    info = {
        "seconds": {report.OURS: ours, "peer": other, "lower": other / 10},
        "spread": {report.OURS: [0.9 * ours, 1.1 * ours], "peer": [other, other], "lower": [0, 1]},
        "gflops": 50.0,
        "gbytes_per_s": None,
        "ceilings": {"FMA": 200.0, "copy": 10.0},
        "agreement": [["peer", "relative L2", 1e-5, 3.14e-7], ["lower", "relative L2", 0.02, 0.004]],
        "references": ["lower"],
        "size": None,
    }
    return {"name": f"test_{name}", "group": group, "extra_info": info | extra}


def write(file, *benches):
    file.write_text(json.dumps({"machine": {"CPU": "a machine", "date": "2026-01-01"}, "benchmarks": benches}))
    return file


@pytest.fixture
def run(tmp_path):
    return write(
        tmp_path / "run.json",
        bench("conv[8]", "conv", 0.002, 0.006),
        bench("layer[8]", "layer conv", 0.002, 0.006),
        *[bench(f"tiles[{n}]", "tiles", 1e-6 * n, 2e-6 * n, size=["side", n]) for n in (256, 512)],
        {"name": "test_memory", "group": "memory", "extra_info": {"megabytes": {report.OURS: 10, "peer": 30}}},
    )


def test_table(run, capsys):
    assert report.main([str(run)]) == 0
    printed = capsys.readouterr().out
    assert "- CPU: a machine" in printed
    agreement = "relative L2 3.1e-07 (<= 1e-05); lower: relative L2 0.004 (<= 0.02)"
    rivals = "peer 6.00; (lower 0.60)"
    assert f"| conv[8] | 2.00 (1.80 to 2.20) | {rivals} | 3.00 | 50 GFLOP/s | 25 % | {agreement} |" in printed
    assert "| memory | 10 | peer 30 | 3.00 |  |  |  |" in printed
    assert "| conv | 1 | **3.00** | 3.00 | 3.00 |" in printed
    assert "| tiles | side | 256 | 512 | 1.00 | peer 1.00; lower 1.00 |" in printed


def test_growth_is_fitted_to_the_largest_sizes():
    times = {10: 5.0, 100: 5.0, 1000: 50.0, 10_000: 500.0, 5: 5.0}
    rows = [report.Row("", "", "ms", {report.OURS: time}, size=("n", size)) for size, time in times.items()]
    assert report.growth(rows, report.OURS) == pytest.approx(1)
    assert report.growth(rows[:1], report.OURS) is report.growth(rows, "other") is None


def test_page_with_charts(run, tmp_path):
    assert report.main([str(run), "--output", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "report.md").read_text()
    assert {file.name for file in (tmp_path / "page").iterdir()} == {
        "report.md",
        "ratios.png",
        "layer_conv.png",
        "scaling.png",
    }
    assert "![ratios](ratios.png)" in page


def test_regressions_are_found(run, tmp_path, capsys):
    slower = write(tmp_path / "slower.json", bench("conv[8]", "conv", 0.004, 0.006), bench("new", "conv", 1, 1))
    assert report.main([str(slower), "--against", str(run)]) == 1
    assert "| conv[8] | 3.00 | 1.50 | 0.50 REGRESSION |" in capsys.readouterr().out
    assert report.main([str(run), "--against", str(run)]) == 0


def test_without_a_rival_shares_of_the_ceiling_are_compared(tmp_path):
    alone = {"seconds": {report.OURS: 1.0}, "references": []}
    old, new = (
        report.load(write(tmp_path / f"{rate}.json", bench("alone", "a", 1, 1, gflops=rate, **alone)))
        for rate in (50.0, 25.0)
    )
    assert list(report.changes(new, old)) == [("alone", 0.25, 0.125)]


def test_equal_names_of_two_groups_are_two_benchmarks(tmp_path):
    run = report.load(write(tmp_path / "run.json", bench("few", "a", 1, 2), bench("few", "b", 1, 3)))
    assert list(report.changes(run, run)) == [("few", 2, 2), ("few", 3, 3)]


def test_seams_are_reported_and_interrupted_benchmarks_are_not(tmp_path, capsys):
    seams = bench("stitched", "stitched", 1, 2, seams={report.OURS: 1.24e-7, "peer": 0.03})
    interrupted = {"name": "test_late", "group": "late", "extra_info": {}}
    assert report.main([str(write(tmp_path / "run.json", seams, interrupted))]) == 0
    printed = capsys.readouterr().out
    assert f"one pass over the whole image: {report.OURS} 1.2e-07, peer 3.0e-02" in printed
    assert "late" not in printed


def test_a_file_that_is_no_run(tmp_path, capsys):
    (tmp_path / "other.json").write_text("{}")
    assert report.main([str(tmp_path / "other.json")]) == 2
    assert "wanted what pytest benchmarks/ --benchmark-json writes" in capsys.readouterr().err
    assert report.main([str(tmp_path / "absent.json")]) == 2
