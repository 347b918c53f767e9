"""The closed vocabulary of what can happen, and the only writer of the trail."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from orchestrator.actors import Actor
from orchestrator.canonical import dumps

GENESIS = bytes(32)
"""What the first event of a chain names as the hash before it."""

DOMAIN = b"audit/v1\0"
"""Keeps these hashes apart from any other use of SHA-256."""

DIGEST_ABOVE = 1024
"""Changed values whose canonical text is longer, in bytes, enter as digests, so that what must be erased can be."""


class Action(StrEnum):
    """Every word an event type can be: `<noun>.<past participle>`."""

    SESSION_CREATED = "session.created"
    SESSION_ACTIVATED = "session.activated"
    SESSION_COMPLETED = "session.completed"
    SESSION_FAILED = "session.failed"
    SESSION_EXPIRED = "session.expired"
    SESSION_CHANGED = "session.changed"
    SESSION_DELETED = "session.deleted"
    SESSION_REFUSED = "session.refused"
    TASK_CREATED = "task.created"
    TASK_BLOCKED = "task.blocked"
    TASK_UNBLOCKED = "task.unblocked"
    TASK_CLAIMED = "task.claimed"
    TASK_RELEASED = "task.released"
    TASK_FORCE_RELEASED = "task.force_released"
    TASK_REQUEUED = "task.requeued"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    TASK_CANCEL_REQUESTED = "task.cancel_requested"
    TASK_CANCELLED = "task.cancelled"
    TASK_DELETED = "task.deleted"
    TASK_REFUSED = "task.refused"
    APPROVAL_CREATED = "approval.created"
    APPROVAL_VOTED = "approval.voted"
    APPROVAL_APPROVED = "approval.approved"
    APPROVAL_REJECTED = "approval.rejected"
    APPROVAL_EXPIRED = "approval.expired"
    APPROVAL_CANCELLED = "approval.cancelled"
    APPROVAL_CONSUMED = "approval.consumed"
    APPROVAL_DELETED = "approval.deleted"
    APPROVAL_REFUSED = "approval.refused"
    EXTERNAL_RECORDED = "external.recorded"
    PERSON_CUT_OFF = "person.cut_off"
    PERSON_RESTORED = "person.restored"
    PERSON_BROKE_GLASS = "person.broke_glass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, before it is written. `at` is the database's time.

    A link of a row's chain has `seq`, the version it leads to, and `prev_hash`. What has no subject and none of these
    stands outside every chain.
    """

    action: Action
    tenant: str
    actor: Actor
    at: datetime
    subject_type: str | None = None
    subject_id: UUID | None = None
    seq: int | None = None
    prev_hash: bytes | None = None
    from_status: str | None = None
    to_status: str | None = None
    role: str = ""
    reason: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    cause: UUID | None = None
    id: UUID = field(default_factory=uuid7)


@dataclass(frozen=True, slots=True)
class Link:
    """An event with its changes as they are told, its canonical text and the hash that the next one will name."""

    event: Event
    changes: Mapping[str, Any]
    body: str
    hash: bytes


def link(event: Event) -> Link:
    """Fix an event's text and hash: SHA256(DOMAIN ‖ hash before ‖ text), the text in RFC 8785 form."""
    changes = digested(event.changes)
    text = canonical(event, changes)
    return Link(event, changes, text.decode(), chained_hash(event.prev_hash or GENESIS, text))


def chained_hash(prev_hash: bytes, body: bytes) -> bytes:
    """The hash of an event: 32 bytes."""
    return hashlib.sha256(DOMAIN + prev_hash + body).digest()


def canonical(event: Event, changes: Mapping[str, Any]) -> bytes:
    """Everything the event says, with its changes as they are told, as canonical JSON (RFC 8785) in UTF-8."""
    actor = event.actor
    return dumps(
        {
            "actor": {
                "issuer": actor.identity.issuer,
                "kind": str(actor.kind),
                "subject": actor.identity.subject,
            },
            "at": instant(event.at),
            "cause": str(event.cause) if event.cause else None,
            "changes": changes,
            "event_type": str(event.action),
            "from": event.from_status,
            "id": str(event.id),
            "ip": actor.origin.ip,
            "on_behalf_of": _identity(actor),
            "reason": event.reason,
            "request_id": actor.origin.request_id,
            "role": event.role,
            "seq": event.seq,
            "subject": {"id": str(event.subject_id), "type": event.subject_type} if event.subject_id else None,
            "tenant": event.tenant,
            "to": event.to_status,
            "trace_id": actor.origin.trace_id,
            "version": event.seq,
            "via": str(actor.origin.via),
        }
    )


def _identity(actor: Actor) -> dict[str, str] | None:
    if actor.on_behalf_of is None:
        return None
    return {"issuer": actor.on_behalf_of.issuer, "subject": actor.on_behalf_of.subject}


def instant(at: datetime) -> str:
    """A moment as RFC 3339 has it: UTC, microseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def digested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with every long value replaced by its SHA-256 and its length in bytes."""
    return {name: _short(value) for name, value in changes.items()}


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    text = dumps(value)
    if len(text) <= DIGEST_ABOVE:
        return value
    return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}


_COLUMNS = (
    "id, event_type, role, timestamp, trace_id, metadata, subject_type, subject_id, seq, from_status, to_status, body,"
    " hash, prev_hash, tenant, actor_issuer, actor_subject, actor_kind, on_behalf_of_issuer, on_behalf_of_subject, via,"
    " reason, cause, request_id, ip"
)
_INSERT = f"INSERT INTO audit_events ({_COLUMNS}) VALUES ({', '.join(['%s'] * len(_COLUMNS.split(',')))})"
_COPY = f"COPY audit_events ({_COLUMNS}) FROM STDIN"


def record(made: Link) -> None:
    """Append one event. Inside a write boundary only: it commits or rolls back with what it tells of."""
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, _row(made))


def record_many(batch: Sequence[Link]) -> None:
    """Append a batch by COPY, which is four times as fast as one INSERT an event."""
    # Django wraps the errors of its own calls, and COPY is psycopg's: unwrapped, a deadlock would not be repeated.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for made in batch:
            copy.write_row(_row(made))


def _row(made: Link) -> tuple[Any, ...]:
    event, actor = made.event, made.event.actor
    behalf = actor.on_behalf_of
    return (
        event.id,
        str(event.action),
        event.role,
        event.at,
        actor.origin.trace_id,
        Jsonb({"changes": made.changes}),
        event.subject_type,
        event.subject_id,
        event.seq,
        event.from_status,
        event.to_status,
        made.body,
        made.hash,
        event.prev_hash,
        event.tenant,
        actor.identity.issuer,
        actor.identity.subject,
        str(actor.kind),
        behalf.issuer if behalf else None,
        behalf.subject if behalf else None,
        str(actor.origin.via),
        event.reason,
        event.cause,
        actor.origin.request_id,
        actor.origin.ip,
    )
