"""Moves that a person asks for, each row in a write boundary of its own, and what to tell of them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from orchestrator import boundary
from orchestrator.actors import Actor
from orchestrator.problems import Forbidden, NotFound, Problem
from sessions_app import permissions
from sessions_app.models import Recorded
from sessions_app.transitions.refusing import remembering

Row = TypeVar("Row", bound=Recorded)

PATIENCE_SECONDS = 10
"""How long a batch goes on. A row that somebody holds takes seconds to be refused."""


class Words(forms.CharField):
    """What somebody says, in lines."""

    def __init__(self, *, required: bool = True) -> None:
        super().__init__(required=required, max_length=4000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}))

    def clean(self, value: Any) -> str:
        """Lines end as they were typed; a browser sends CR LF."""
        return str(super().clean(value)).replace("\r\n", "\n")


class MoveForm(forms.Form):
    """What a person says when they move a row. Its fields are arguments of the transition."""

    kept: ClassVar[str]
    """A sentence: what becomes of it."""

    @classmethod
    def for_row(cls, _row: Any) -> Self:
        """Return the empty form for a row."""
        return cls()


class ReasonForm(MoveForm):
    """Why."""

    kept = "The reason is kept with the event."
    reason = Words()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Generic[Row]):
    """A move as people ask for it.

    `verb` stands on its button and `past` behind the rows that it was made of; what `ends` something is coloured as
    such. `insist` raises Forbidden, `is_legal` says whether it is offered, `make` is the transition; `tell` says what
    came of it, `note` beforehand what will, and `foretell` what will come of it for one row; `form` asks for what the
    transition takes. `label` stands on the button and above the form where the verb alone would mislead.
    """

    model: type[Row]
    verb: str
    past: str
    ends: bool
    insist: Callable[[Actor, Row], None]
    is_legal: Callable[[Row], bool]
    make: Callable[..., Row]
    tell: Callable[[Row], str]
    label: str = ""
    note: str = ""
    foretell: Callable[[Row], str] | None = None
    form: type[MoveForm] = ReasonForm

    @property
    def button(self) -> str:
        """What stands on its button."""
        return self.label or self.verb

    def explanation(self, row: Row) -> str:
        """Return what is to be known before the move is made of a row."""
        return " ".join(filter(None, (self.note, self.foretell(row) if self.foretell else "")))


def make(move: Move[Row], pk: UUID, *, actor: Actor, **said: Any) -> Row:
    """Make a move of one row, with what its form asked for. Raises what the right to it or the transition refuses."""

    def moving() -> Row:
        row = permissions.find(move.model, pk, actor)
        with remembering(row, move.verb.lower(), actor=actor):
            move.insist(actor, row)
        return move.make(row, actor=actor, **said)

    return boundary.write(moving)


def make_each(move: Move[Row], pks: Iterable[UUID], *, actor: Actor, reason: str) -> Iterator[tuple[UUID, str | None]]:
    """Make a move of one row after the other; with each id comes the refusal, or None where it was made."""
    until = time.monotonic() + PATIENCE_SECONDS
    for pk in pks:
        if time.monotonic() > until:
            yield pk, "Not tried: the others took too long."
            continue
        try:
            make(move, pk, actor=actor, reason=reason)
        except Problem as refusal:
            yield pk, refusal.detail
        else:
            yield pk, None


def offered(moves: Mapping[str, Move[Row]], row: Row, *, actor: Actor) -> Iterator[str]:
    """The moves, by name, that are legal now and this actor's to make."""
    for name, move in moves.items():
        if not move.is_legal(row):
            continue
        try:
            move.insist(actor, row)
        except (Forbidden, NotFound):
            continue
        yield name
