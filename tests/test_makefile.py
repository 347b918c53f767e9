"""The Makefile takes a Python that the service runs on, and says so where there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gunicorn_server import HERE

PYTHON = """#!{python}
import sys
sys.version_info = {version}
if sys.argv[1] == "-c":
    exec(sys.argv[2])
"""


def made_with(version: tuple[int, int], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Make .venv where that is the one Python there is."""
    shutil.copy(HERE / "Makefile", folder)
    only = folder / "bin" / "python3"
    only.parent.mkdir()
    only.write_text(PYTHON.format(python=sys.executable, version=version))
    only.chmod(0o755)
    make = [str(shutil.which("make")), "-C", str(folder), ".venv/bin/python"]
    return subprocess.run(make, env={"PATH": str(only.parent)}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", [(3, 11), (3, 13)])
def test_a_python_of_those_promised_makes_the_environment(version: tuple[int, int], tmp_path: Path) -> None:
    told = made_with(version, tmp_path)
    assert (told.returncode, "python3 -m venv .venv" in told.stdout) == (0, True)


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_any_other_is_not_taken_and_the_promised_are_named(version: tuple[int, int], tmp_path: Path) -> None:
    told = made_with(version, tmp_path)
    assert told.returncode != 0
    assert told.stderr.startswith("Python 3.11, 3.12 or 3.13 with venv is needed")
