"""How many rows change at once: one locking read, one UPDATE, one COPY of events."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, models
from django_fsm import TransitionNotAllowed

from audit_app import trail
from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Recorded
from sessions_app.models.clock import ClockTimestamp
from sessions_app.transitions.change import first, illegal, insist_on_boundary
from sessions_app.transitions.recording import ADVANCED, advance, end, is_told, moved, snapshot

Row = TypeVar("Row", bound=Recorded)


def of_its_own(row: Recorded) -> UUID | None:
    """The cause of a move that no other brought about."""
    return None


def nothing_more(row: Recorded) -> Mapping[str, Any]:
    """Return no further members for an event's changes."""
    return {}


@contextmanager
def change_many(
    rows: models.QuerySet[Row],
    action: Action,
    *,
    actor: Actor,
    reason: str = "",
    cause: Callable[[Row], UUID | None] = of_its_own,
    also: Callable[[Row], Mapping[str, Any]] = nothing_more,
) -> Iterator[Sequence[Row]]:
    """Lock the rows of a query, let the block move them, save and record those that moved. In a write boundary only.

    Rows that somebody else holds are skipped (`SKIP LOCKED`): two sweeps at once share the work instead of waiting for
    each other, and PostgreSQL judges the query's condition again under the lock. `cause` says which event brought about
    the move of a row; `also` gives further members for the changes of its event.

    Raises IllegalTransition where django-fsm refuses a move.
    """
    insist_on_boundary()
    query = rows.select_for_update(no_key=True, skip_locked=True, of=("self",)).annotate(now=ClockTimestamp())
    batch = list(query)
    before = [snapshot(row) for row in batch]
    try:
        yield batch
    except TransitionNotAllowed as refusal:
        raise illegal(refusal) from refusal
    links, told, columns = [], [], set[str]()
    for row, was in zip(batch, before, strict=True):
        if is_told(row, names := moved(was, row)):
            more = also(row)
            links.append(advance(row, action, was, names, actor=actor, reason=reason, cause=cause(row), also=more))
            told.append(row)
            columns.update(names, ADVANCED)
    if told:
        _update(told, sorted(columns))
        trail.record_many(links)


def create_many(rows: Sequence[Recorded], action: Action, *, at: datetime, actor: Actor, cause: UUID | None) -> None:
    """Insert new rows of one kind with their first events: two statements, however many. In a write boundary only."""
    links = [first(row, action, at=at, actor=actor, cause=cause) for row in rows]
    if links:
        type(rows[0])._default_manager.bulk_create(rows)
        trail.record_many(links)


def gone(
    rows: Sequence[Recorded], action: Action, *, at: datetime, actor: Actor, cause: UUID | None, reason: str = ""
) -> None:
    """Record the end of locked rows that went along with the one they belonged to. In a write boundary only."""
    insist_on_boundary()
    links = []
    for row in rows:
        row.now = at
        links.append(end(row, action, actor=actor, reason=reason, cause=cause))
    if links:
        trail.record_many(links)


def _update(rows: Sequence[Recorded], columns: Sequence[str]) -> None:
    """One `UPDATE … FROM unnest(…)` for all rows: an array for the ids and one for each column."""
    fields = {field.attname: field for field in rows[0]._meta.concrete_fields}
    chosen = [fields["id"], *(fields[name] for name in columns)]
    # Without the length: an explicit cast to varchar(n) would cut what is too long instead of refusing it.
    types = [str(field.db_type(connection)).partition("(")[0] for field in chosen]
    arrays = ", ".join(f"%s::{name}[]" for name in types)
    sets = ", ".join(f'"{field.column}" = new."{field.column}"' for field in chosen[1:])
    named = ", ".join(f'"{field.column}"' for field in chosen)
    table = rows[0]._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE "{table}" AS old SET {sets} FROM unnest({arrays}) AS new({named}) WHERE old.id = new.id',
            [list(_values(field, rows)) for field in chosen],
        )


def _values(field: "models.Field[Any, Any]", rows: Sequence[Recorded]) -> Iterable[Any]:
    for row in rows:
        value = getattr(row, field.attname)
        # Bytes go as they are: Django's wrapper for them does not fit into an array.
        yield bytes(value) if isinstance(value, bytes | memoryview) else field.get_db_prep_save(value, connection)
