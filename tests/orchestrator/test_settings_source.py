"""What can be set: the page and the file of the environment say all of it, and what they say is so."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.settings_source import SOURCES, settings_of
from tests.gunicorn_server import HERE

ALL = [setting for source in SOURCES.values() for setting in settings_of(source)]
EXAMPLE = (HERE / "docker" / ".env.example").read_text(encoding="utf-8")
READ = re.compile(r"""(?:env\.\w+|environ\.get)\(\s*["']([A-Z_]+)["']""")
TELLING = """
import json
from orchestrator import settings
print(json.dumps({name: repr(value) for name, value in vars(settings).items() if name.isupper()}))
"""


def test_every_variable_that_is_read_is_told_once() -> None:
    read = {name for source in SOURCES.values() for name in READ.findall(source.read_text(encoding="utf-8"))}
    reader = (HERE / "orchestrator" / "env.py").read_text(encoding="utf-8")
    inside_the_reader = {name.removesuffix("_FILE") for name in re.findall(r'"(OIDC_[A-Z_]+)"', reader)}
    told = [setting.name for setting in ALL]
    assert len(told) == len(set(told))
    assert read | inside_the_reader == set(told)


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
def test_each_says_what_it_means_and_takes(setting: object) -> None:
    assert vars(setting)["means"]
    assert vars(setting)["takes"]


def settings_with(folder: Path, **env: str) -> dict[str, str]:
    base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    needed = {
        "SECRET_KEY": "only for tests",
        "DATABASE_URL": "postgresql:///orchestrator",
        "ORCHESTRATOR_VAR": str(folder),
    }
    told = subprocess.run(
        [sys.executable, "-c", TELLING],
        cwd=HERE,
        env={**env, **base, **needed},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(told.stdout)
    return found


def test_the_example_with_all_of_it_taken_in_is_what_holds_unless_anything_is_set(tmp_path: Path) -> None:
    values = dict(line.removeprefix("#").split("=", 1) for line in EXAMPLE.splitlines() if re.match(r"#[A-Z_]+=", line))
    assert set(values) == {setting.name for setting in ALL}
    given = {name: value.replace("$ORCHESTRATOR_VAR", str(tmp_path)) for name, value in values.items()}
    assert settings_with(tmp_path, **given) == settings_with(tmp_path)
