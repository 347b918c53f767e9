"""manage.py draw_states: docs/states.md, drawn from the models."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, cast

from django.db.models import Model

from orchestrator.generated import GeneratedPage
from sessions_app.models import Approval, Recorded, Session, Task
from sessions_app.models.recorded import moves

NOUNS: tuple[type[Recorded], ...] = (Session, Task, Approval)
"""Drawn in this order, each once it has a move."""

HEAD = """\
# States

Drawn from the models by `manage.py draw_states`; to change it, change a model and run that again. A move that is not
here is refused with 409, `illegal-transition`. A state without a move is final: nothing leaves it, not even to itself.
"""


class Command(GeneratedPage):
    """The pictures and tables of all nouns as a page."""

    help = "Draw docs/states.md from the models."
    page: ClassVar[str] = "docs/states.md"
    source: ClassVar[str] = "models"

    def document(self) -> str:
        """Each noun that has a move."""
        return "\n".join([HEAD, *(section(model) for model in NOUNS if any(moves(model).values()))])


class Move(NamedTuple):
    """One arrow: a move of the model from one of its states to another."""

    before: str
    name: str
    after: str
    meaning: str


def section(model: type[Recorded]) -> str:
    """What is told of one noun: its picture, its states and its moves."""
    parts = [f"## {model.__name__}", _first_line(model), picture(model), states(model), *_rule(model), table(model)]
    return "\n\n".join(parts) + "\n"


def picture(model: type[Recorded]) -> str:
    """A Mermaid state diagram."""
    arrows = [f"{move.before} --> {move.after}: {move.name}" for move in moves_of(model)]
    ends = [f"{state} --> [*]" for state, after in moves(model).items() if not after]
    begin = f"[*] --> {_field(model).default}"
    lines = ["stateDiagram-v2", *(f"    {line}" for line in [begin, *arrows, *ends])]
    return "\n".join(["```mermaid", *lines, "```"])


def states(model: type[Recorded]) -> str:
    """The table of what each state may become."""
    rows = [(_code(state), ", ".join(map(_code, after)) or "–") for state, after in moves(model).items()]
    return _rows(("state", "may become"), rows)


def table(model: type[Recorded]) -> str:
    """The table of moves."""
    rows = [(_code(one.before), one.name, _code(one.after), one.meaning) for one in moves_of(model)]
    return _rows(("from", "move", "to", "means"), rows)


def moves_of(model: type[Recorded]) -> list[Move]:
    """Every move, in the order of the states it leads from, and then to."""
    order = list(moves(model))
    found = [
        Move(str(one.source), one.name, str(one.target), _first_line(one.method))
        for one in _field(model).get_all_transitions(model)
    ]
    return sorted(found, key=lambda move: (order.index(move.before), order.index(move.after), move.name))


def _rule(model: type[Recorded]) -> Iterator[str]:
    """What the model says where it allows less than its moves."""
    if model.allowed_transitions is not Recorded.allowed_transitions:
        yield _first_line(model.allowed_transitions)


def _field(model: type[Recorded]) -> Any:
    return cast(type[Model], model)._meta.get_field("status")


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _code(text: str) -> str:
    return f"`{text}`"


def _rows(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    written = [f"| {' | '.join(line)} |" for line in [head, *rows]]
    return "\n".join([written[0], "|" + "---|" * len(head), *written[1:]])
