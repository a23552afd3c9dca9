"""The report of a benchmark run: its tables, its charts and the comparison of two runs."""

import json

import pytest

from benchmarks import report


def bench(name, group, ours, other, **extra):
    info = {
        "seconds": {report.OURS: ours, "peer": other},
        "spread": {report.OURS: [0.9 * ours, 1.1 * ours], "peer": [other, other]},
        "gflops": 50.0,
        "gbytes_per_s": None,
        "best_gemm_gflops": 200.0,
        "copy_gbytes_per_s": None,
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
    assert "| conv[8] | 2.00 (1.80 to 2.20) | peer 6.00 | 3.00 | 50 GFLOP/s | 25 % |" in printed
    assert "| memory | 10 | peer 30 | 3.00 |  |  |" in printed


def test_page_with_charts(run, tmp_path):
    assert report.main([str(run), "--output", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "report.md").read_text()
    assert {file.name for file in (tmp_path / "page").iterdir()} == {
        "report.md",
        "ratios.png",
        "layer_conv.png",
        "tiles.png",
    }
    assert "![ratios](ratios.png)" in page


def test_regressions_are_found(run, tmp_path, capsys):
    slower = write(tmp_path / "slower.json", bench("conv[8]", "conv", 0.004, 0.006), bench("new", "conv", 1, 1))
    assert report.main([str(slower), "--against", str(run)]) == 1
    assert "| conv[8] | 3.00 | 1.50 | 0.50 REGRESSION |" in capsys.readouterr().out
    assert report.main([str(run), "--against", str(run)]) == 0


def test_a_file_that_is_no_run(tmp_path, capsys):
    (tmp_path / "other.json").write_text("{}")
    assert report.main([str(tmp_path / "other.json")]) == 2
    assert "wanted what pytest benchmarks/ --benchmark-json writes" in capsys.readouterr().err
    assert report.main([str(tmp_path / "absent.json")]) == 2
