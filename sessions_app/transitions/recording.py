"""From a row that moved to the event that tells of it."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from uuid import UUID

from django.db import models

from audit_app import trail
from audit_app.trail import Action, Event, Link
from orchestrator.actors import Actor
from orchestrator.canonical import dumps
from sessions_app.models import Recorded

Snapshot = dict[str, Any]

ADVANCED = ("version", "audit_head", "updated_at")
"""The columns that `advance()` writes, beside those that moved."""


class _Json(str):
    """The text of a document."""

    __slots__ = ()


def snapshot(row: Recorded) -> Snapshot:
    """Every column as it is now, in a form that a later change cannot reach and that compares exactly.

    JSON enters as text: in Python `1 == True`, in a document it is not.
    """
    plain, documents = _columns(type(row))
    values = {name: getattr(row, name) for name in plain}
    values.update((name, _Json(json.dumps(getattr(row, name), sort_keys=True))) for name in documents)
    return values


@cache
def _columns(model: type[Recorded]) -> tuple[list[str], list[str]]:
    """By name: those that are no documents, and those that are."""
    documents = [field.attname for field in model._meta.concrete_fields if isinstance(field, models.JSONField)]
    return [field.attname for field in model._meta.concrete_fields if field.attname not in documents], documents


def moved(before: Snapshot, row: Recorded) -> list[str]:
    """The columns that are not as they were, by name."""
    return [name for name, value in snapshot(row).items() if value != before[name] and not _same(value, before[name])]


def _same(one: Any, other: Any) -> bool:
    """Whether two documents are the same but for how their numbers are written: 1 and 1.0, 0.0 and -0.0 (RFC 8785)."""
    both_text = isinstance(one, _Json) and isinstance(other, _Json)
    return both_text and dumps(json.loads(one)) == dumps(json.loads(other))


def is_told(row: Recorded, columns: Iterable[str]) -> bool:
    """Whether a change of these columns is an event: the status, or what the model says is told."""
    return any(name == "status" or name in row.TOLD for name in columns)


def begin(row: Recorded, action: Action, *, actor: Actor, reason: str, cause: UUID | None) -> Link:
    """Give a new row its first version, and return the event that tells of it."""
    row.version, row.audit_head = 0, trail.GENESIS
    return _next(row, action, None, row.status, _told(row, row.TOLD), actor=actor, reason=reason, cause=cause)


def advance(
    row: Recorded,
    action: Action,
    before: Snapshot,
    columns: Iterable[str],
    *,
    actor: Actor,
    reason: str,
    cause: UUID | None,
    also: Mapping[str, Any] | None = None,
) -> Link:
    """Take a locked, moved row to its next version, and return the event that leads there."""
    changes = {**_told(row, columns), **(also or {})}
    link = _next(row, action, before["status"], row.status, changes, actor=actor, reason=reason, cause=cause)
    row.updated_at = row.now
    return link


def end(row: Recorded, action: Action, *, actor: Actor, reason: str, cause: UUID | None) -> Link:
    """Return the last event of a locked row that is about to go."""
    return _next(row, action, row.status, None, {}, actor=actor, reason=reason, cause=cause)


def _next(
    row: Recorded,
    action: Action,
    before: str | None,
    after: str | None,
    changes: dict[str, Any],
    *,
    actor: Actor,
    reason: str,
    cause: UUID | None,
) -> Link:
    """The event that follows the row's last, with version and head moved on to it."""
    link = trail.link(
        Event(
            action=action,
            tenant=row.tenant,
            subject_type=row.NOUN,
            subject_id=row.id,
            seq=row.version + 1,
            prev_hash=bytes(row.audit_head),
            actor=actor,
            at=row.now,
            from_status=None if before is None else str(before),
            to_status=None if after is None else str(after),
            role=row.trail_role,
            reason=reason,
            changes=changes,
            cause=cause,
        )
    )
    row.version, row.audit_head, row.last_event = row.version + 1, link.hash, link.event.id
    return link


def _told(row: Recorded, columns: Iterable[str]) -> dict[str, Any]:
    """The new values of what is told, as JSON has them."""
    return {name: _json(getattr(row, name)) for name in columns if name in row.TOLD}


def _json(value: Any) -> Any:
    if hasattr(value, "astimezone"):
        return trail.instant(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value) if isinstance(value, UUID) else value
