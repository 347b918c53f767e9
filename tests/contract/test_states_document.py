"""docs/states.md: drawn from the models, and current."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Model
from django_fsm import FSMField, transition

from sessions_app.management.commands.draw_states import NOUNS
from sessions_app.models import Approval, Recorded, Session, Task
from sessions_app.models.recorded import moves
from tests.contract.pages import section
from tests.gunicorn_server import HERE
from tests.sessions_app.session_calls import LEGAL, TERMINAL

STATES = (HERE / "docs/states.md").read_text(encoding="utf-8")
SESSION = section(STATES, "Session")
ARROW = re.compile(r"^ {4}(\S+) --> (\S+?)(?:: (\w+))?$", re.MULTILINE)


def arrows(text: str) -> list[tuple[str, str, str]]:
    """From, to and name of each arrow of the pictures in a text."""
    return ARROW.findall(text)


def draw(*options: str) -> str:
    out = io.StringIO()
    call_command("draw_states", *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    """Another checkout, in which nothing is drawn yet."""
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


@pytest.fixture
def task_with_a_move() -> Iterator[None]:
    """Tasks as they will be: with a move."""

    def begin(task: Task) -> None:
        """A worker took it."""

    field = cast(type[Model], Task)._meta.get_field("status")
    assert isinstance(field, FSMField)
    before = field.transitions[Task]
    field.transitions[Task] = {"begin": transition(field=field, source="pending", target="active")(begin)}
    moves.cache_clear()
    yield
    field.transitions[Task] = before
    moves.cache_clear()


def test_is_what_the_models_say() -> None:
    assert "is current" in draw("--check")


def test_has_an_arrow_for_each_legal_move_and_no_other() -> None:
    drawn = [(before, after) for before, after, name in arrows(SESSION) if name]
    assert sorted(drawn) == sorted((before, after) for before, allowed in LEGAL.items() for after in allowed)


def test_begins_where_a_session_begins_and_ends_where_it_is_final() -> None:
    plain = [(before, after) for before, after, name in arrows(SESSION) if not name]
    assert plain == [("[*]", "pending"), *((state, "[*]") for state in TERMINAL)]


def test_tells_each_move_in_a_row_with_its_meaning() -> None:
    told = re.findall(r"^\| `(\w+)` \| (\w+) \| `(\w+)` \| [A-Z].+\. \|$", STATES, re.MULTILINE)
    assert told == [(before, name, after) for before, after, name in arrows(STATES) if name]


def test_knows_every_row_that_has_states() -> None:
    assert set(NOUNS) == {Session, Task, Approval} == set(Recorded.__subclasses__())


def test_draws_what_has_moves_and_leaves_out_what_has_none() -> None:
    assert re.findall(r"^## (\w+)$", STATES, re.MULTILINE) == [
        noun.__name__ for noun in NOUNS if any(moves(noun).values())
    ]


@pytest.mark.usefixtures("task_with_a_move")
def test_a_noun_joins_with_its_first_move(folder: Path) -> None:
    draw()
    drawn = (folder / "states.md").read_text(encoding="utf-8")
    assert section(drawn, "Session").strip() == SESSION.strip()
    assert ("pending", "active", "begin") in arrows(section(drawn, "Task"))
    assert "| `pending` | begin | `active` | A worker took it. |" in section(drawn, "Task")


@pytest.mark.usefixtures("task_with_a_move")
def test_a_model_that_moved_on_is_noticed() -> None:
    with pytest.raises(CommandError):
        draw("--check")


def test_draws_it_where_there_is_none(folder: Path) -> None:
    assert "written anew" in draw()
    assert (folder / "states.md").read_text(encoding="utf-8") == STATES
    assert "is current" in draw()


@pytest.mark.parametrize("change", ["| `failed` | `active` |\n", ""])
def test_checking_ends_with_1_where_it_is_not_current_and_writes_nothing(folder: Path, change: str) -> None:
    stale = STATES + change if change else STATES.rstrip("\n")
    (folder / "states.md").write_text(stale, encoding="utf-8")
    with pytest.raises(CommandError, match=r"Run manage\.py draw_states") as refusal:
        draw("--check")
    assert refusal.value.returncode == 1
    assert (folder / "states.md").read_text(encoding="utf-8") == stale
    draw()
    assert (folder / "states.md").read_text(encoding="utf-8") == STATES


def test_checking_ends_with_1_where_there_is_none(folder: Path) -> None:
    with pytest.raises(CommandError):
        draw("--check")
    assert list(folder.iterdir()) == []
