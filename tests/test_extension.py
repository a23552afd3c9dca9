"""The compiled module: found from a checkout's root, and named clearly where it is missing or stale."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import unet_fast
from unet_fast.ops import build_info

PACKAGE = Path(unet_fast.__file__).parent


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that holds unet_fast/ as a fresh clone does: without a compiled module."""
    shutil.copytree(PACKAGE, tmp_path / "unet_fast", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    return tmp_path


def test_found_from_the_root_of_a_checkout(checkout):
    installed = Path(build_info().path).parents[1]
    code = (
        f"import sys; sys.path.append({str(installed)!r}); import unet_fast.ops as ops; "
        "print(ops.__file__, ops.build_info().path)"
    )
    run = python(code, checkout)
    assert run.returncode == 0, run.stderr
    here, module = run.stdout.split()
    assert Path(here).is_relative_to(checkout) and Path(module) == Path(build_info().path)


def test_missing(checkout):
    run = python("import sys; sys.modules['unet_fast._C'] = None; import unet_fast.ops", checkout)
    last = run.stderr.strip().splitlines()[-1]
    assert "compiled module is missing or unusable" in last and "run `pip install .`" in last


def test_of_another_version(checkout):
    code = (
        "import sys, types, unet_fast; stale = types.ModuleType('unet_fast._C'); stale.version = '0.0.1'; "
        "sys.modules['unet_fast._C'] = unet_fast._C = stale; import unet_fast.ops"
    )
    last = python(code, checkout).stderr.strip().splitlines()[-1]
    assert f"unet_fast is {unet_fast.__version__} but its compiled module is 0.0.1" in last and "pip install ." in last


def test_of_other_sources(checkout):
    installed = Path(build_info().path).parents[1]
    (checkout / "csrc").mkdir()
    (checkout / "csrc" / "changed.h").write_text("// not what was compiled\n")
    run = python(f"import sys; sys.path.append({str(installed)!r}); import unet_fast.ops", checkout)
    assert run.returncode == 0, run.stderr
    assert "csrc/ has changed since unet_fast's module was compiled: run `pip install .`" in run.stderr
