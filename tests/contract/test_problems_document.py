"""docs/problems.md: every refusal, as its class says it, and current."""

import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orchestrator.catalogue import catalogue
from orchestrator.problem_schemas import MEMBERS
from orchestrator.problems import Problem
from tests.contract.pages import page, section, table

PROBLEMS = page("docs/problems.md")


def listed(*options: str) -> str:
    out = io.StringIO()
    call_command("list_problems", *options, stdout=out)
    return out.getvalue()


def test_is_what_the_classes_say() -> None:
    assert "is current" in listed("--check")


def test_lists_every_refusal_and_no_other() -> None:
    told = [(int(status), re.findall("`(.*)`", name)[0], title) for status, name, title in table(PROBLEMS)]
    assert told == [(kind.status, kind.slug, kind.title) for kind in catalogue()]


@pytest.mark.parametrize("kind", list(catalogue()), ids=lambda kind: kind.slug)
def test_tells_what_each_means_and_has(kind: type[Problem]) -> None:
    told = section(PROBLEMS, kind.slug)
    assert inspect.cleandoc(kind.__doc__ or "") in told
    besides = told.partition("\nBesides: ")[2]
    assert [name for name in re.findall("`(.*?)`", besides) if name.islower()] == list(MEMBERS.get(kind, {}))


def test_checking_ends_with_1_where_it_is_not_current_and_writes_nothing(tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    stale = tmp_path / "docs" / "problems.md"
    stale.write_text("# Refusals\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"Run manage\.py list_problems"):
        listed("--check")
    assert stale.read_text(encoding="utf-8") == "# Refusals\n"
    assert "written anew" in listed()
    assert stale.read_text(encoding="utf-8") == PROBLEMS
