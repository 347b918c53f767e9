"""How any one row changes: locked, moved, saved and recorded, in the write boundary that the caller opened."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django_fsm import TransitionNotAllowed

from audit_app import trail
from audit_app.trail import Action, Link
from orchestrator.actors import Actor
from orchestrator.problems import NotFound, PreconditionFailed
from orchestrator.work_problems import IllegalTransition
from sessions_app.models import Recorded
from sessions_app.transitions.recording import ADVANCED, advance, begin, end, is_told, moved, snapshot
from sessions_app.transitions.writing import inserted, updated

Row = TypeVar("Row", bound=Recorded)


def create(row: Row, action: Action, *, at: datetime, actor: Actor, reason: str = "", cause: UUID | None = None) -> Row:
    """Insert a new row of the actor's with its first event; `at` is the database's time. In a write boundary only."""
    link = first(row, action, at=at, actor=actor, reason=reason, cause=cause)
    trail.record(link, told=inserted(row))
    row._state.adding, row._state.db = False, connection.alias
    return row


def first(row: Recorded, action: Action, *, at: datetime, actor: Actor, reason: str = "", cause: UUID | None) -> Link:
    """Make a new row the actor's, and return its first event. In a write boundary only."""
    insist_on_boundary()
    row.tenant = actor.tenant
    row.created_by_issuer, row.created_by_subject = actor.identity.issuer, actor.identity.subject
    if actor.on_behalf_of is not None:
        row.on_behalf_of_issuer, row.on_behalf_of_subject = actor.on_behalf_of.issuer, actor.on_behalf_of.subject
    row.now = row.created_at = row.updated_at = at
    return begin(row, action, actor=actor, reason=reason, cause=cause)


def lock(row: Row, *, if_match: frozenset[int] | None = None) -> Row:
    """The row, read again under `FOR NO KEY UPDATE`, with the database's clock beside it as `now`.

    The lock settles the race of two writers on one row: the second waits here and then judges what the first left.
    Locks are always taken in one order: task, then session, then the approvals about them.

    Raises NotFound if the row is gone, PreconditionFailed if `if_match` names other versions.
    """
    return _locked(row, "FOR NO KEY UPDATE", if_match)


def lock_to_remove(row: Row, *, if_match: frozenset[int] | None = None) -> Row:
    """As `lock()`, but `FOR UPDATE`: it waits as well for whoever is about to point to the row (`FOR KEY SHARE`).

    Without it a session could be opened for a task between the look for such and the DELETE, whose COMMIT would fail.
    """
    return _locked(row, "FOR UPDATE", if_match)


def insist_on_version(fresh: Recorded, if_match: frozenset[int] | None) -> None:
    """Raises PreconditionFailed where `if_match` names other versions than that of a locked row."""
    if if_match is not None and fresh.version not in if_match:
        raise PreconditionFailed(fresh.version)


def _locked(row: Row, strength: str, if_match: frozenset[int] | None) -> Row:
    insist_on_boundary()
    for fresh in type(row)._default_manager.raw(_locking_read(type(row), strength), [row.pk]):
        insist_on_version(fresh, if_match)
        return fresh
    raise NotFound


@cache
def _locking_read(model: type[Recorded], strength: str) -> str:
    # The clock is read outside the locking query: beside the row it would tell the time from before the wait.
    locking = f'SELECT * FROM "{model._meta.db_table}" WHERE id = %s {strength}'
    return f"SELECT locked.*, clock_timestamp() AS now FROM ({locking}) AS locked"


@contextmanager
def change(row: Row, action: Action, *, actor: Actor, reason: str = "", cause: UUID | None = None) -> Iterator[Row]:
    """Lock the row, re-read it, let the block move it, save it, record it. Inside a write boundary only.

    Raises NotFound if the row is gone, IllegalTransition where django-fsm refuses the move.
    """
    with changed(lock(row), action, actor=actor, reason=reason, cause=cause) as fresh:
        yield fresh


@contextmanager
def changed(
    fresh: Row,
    action: Action,
    *,
    actor: Actor,
    reason: str = "",
    cause: UUID | None = None,
    also: Mapping[str, Any] | None = None,
) -> Iterator[Row]:
    """What `change()` does once the row is locked, for a caller that had to look at the locked row first.

    Where the block leaves everything as it was, nothing is saved and nothing recorded. A column that is not told
    (see `Recorded.TOLD`) is saved only along with one that is. `also` are further members for the event's changes.
    """
    insist_on_boundary()
    before = snapshot(fresh)
    try:
        yield fresh
    except TransitionNotAllowed as refusal:
        raise illegal(refusal) from refusal
    columns = moved(before, fresh)
    if not is_told(fresh, columns):
        return
    link = advance(fresh, action, before, columns, actor=actor, reason=reason, cause=cause, also=also)
    trail.record(link, told=updated(fresh, [*columns, *ADVANCED]))


def remove(fresh: Recorded, action: Action, *, actor: Actor, reason: str = "", cause: UUID | None = None) -> None:
    """Delete a row that is locked. Its trail stays and ends with this event. Inside a write boundary only."""
    insist_on_boundary()
    link = end(fresh, action, actor=actor, reason=reason, cause=cause)
    type(fresh)._default_manager.filter(pk=fresh.pk).delete()
    trail.record(link)


def illegal(refusal: TransitionNotAllowed) -> IllegalTransition:
    """The problem that django-fsm's refusal amounts to. The row it refused to move is as it was."""
    row = refusal.object
    targets = {str(transition.target) for transition in refusal.method._django_fsm.transitions.values()}
    return IllegalTransition(before=str(row.status), to=targets.pop(), allowed=row.allowed_transitions())


def insist_on_boundary() -> None:
    """Refuse to write outside a transaction. Raises RuntimeError."""
    if not connection.in_atomic_block:
        raise RuntimeError("A change of state outside boundary.write().")
