"""The closed vocabulary of what can happen, and the only writer of the trail."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from django.db import connection, transaction
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from audit_app.digests import digested
from orchestrator.actors import Actor, Kind
from orchestrator.canonical import dumps
from orchestrator.metrics import EVENTS
from orchestrator.rate_limit import spend_events

GENESIS = bytes(32)
"""What the first event of a chain names as the hash before it."""

DOMAIN = b"audit/v1\0"
"""Keeps these hashes apart from any other use of SHA-256."""


class Action(StrEnum):
    """Every word an event type can be, `<noun>.<past participle>`, and what each means."""

    means: str

    def __new__(cls, word: str, means: str) -> Self:
        """A word is a text."""
        action = str.__new__(cls, word)
        action._value_, action.means = word, means
        return action

    SESSION_CREATED = "session.created", "An agent's session was opened."
    SESSION_ACTIVATED = "session.activated", "The work was begun."
    SESSION_COMPLETED = "session.completed", "The work was finished."
    SESSION_FAILED = "session.failed", "The work was given up."
    SESSION_EXPIRED = "session.expired", "Its time ran out, or somebody ended it for good."
    SESSION_CHANGED = "session.changed", "What it carries changed, and its state did not."
    SESSION_DELETED = "session.deleted", "An operator deleted it: the last event of its chain."
    SESSION_REFUSED = "session.refused", "Somebody saw it, and was refused the right to do what they tried."
    TASK_CREATED = "task.created", "It was routed, created, or made to do a failed one's work again."
    TASK_BLOCKED = "task.blocked", "Somebody was asked about it: it waits for their agreement."
    TASK_UNBLOCKED = "task.unblocked", "Each request that it waited for was approved, or was added and then withdrawn."
    TASK_CLAIMED = "task.claimed", "Somebody took it, with a lease."
    TASK_RELEASED = "task.released", "Its holder handed it back; the attempt does not count."
    TASK_FORCE_RELEASED = "task.force_released", "An operator took it from its holder; the attempt does not count."
    TASK_REQUEUED = (
        "task.requeued",
        "An attempt failed, its lease ran out or its delivery was lost, and another may follow.",
    )
    TASK_COMPLETED = "task.completed", "Its holder did it."
    TASK_FAILED = "task.failed", "It will not be done."
    TASK_CANCEL_REQUESTED = "task.cancel_requested", "Its end was asked for while somebody held it."
    TASK_CANCELLED = "task.cancelled", "It was called off."
    TASK_DELETED = "task.deleted", "An operator deleted it: the last event of its chain."
    TASK_REFUSED = "task.refused", "A write was refused: without the right or the present lease, or past the deadline."
    APPROVAL_CREATED = "approval.created", "Somebody asked for agreement."
    APPROVAL_VOTED = "approval.voted", "A person agreed, and others have to."
    APPROVAL_DECISION_WITHDRAWN = "approval.decision_withdrawn", "A person withdrew their approval; it does not count."
    APPROVAL_DECISION_SET_ASIDE = (
        "approval.decision_set_aside",
        "An approval does not count any more: its decider was cut off, or is the same person as another.",
    )
    APPROVAL_APPROVED = "approval.approved", "The last person needed agreed."
    APPROVAL_REJECTED = "approval.rejected", "A person refused."
    APPROVAL_EXPIRED = "approval.expired", "Nobody settled it in time."
    APPROVAL_CANCELLED = (
        "approval.cancelled",
        "The request was cancelled or replaced, its requester was cut off, or its task or session is over.",
    )
    APPROVAL_CONSUMED = "approval.consumed", "The approved action was used, once."
    APPROVAL_DELETED = "approval.deleted", "Its task or session was deleted with it: the last event of its chain."
    APPROVAL_REFUSED = "approval.refused", "A decision, a use or a withdrawal was refused."
    EXTERNAL_RECORDED = "external.recorded", "Another system told of something."
    PERSON_RECORDED = "person.recorded", "The chain of an identity began: this is who it is, and what it may do then."
    PERSON_RIGHTS_CHANGED = "person.rights_changed", "At a login, the identity provider gave other rights than before."
    PERSON_LOGGED_IN = "person.logged_in", "Somebody came into the admin by the identity provider."
    PERSON_CUT_OFF = "person.cut_off", "An operator cut somebody off: nothing that they send is taken any more."
    PERSON_RESTORED = "person.restored", "An operator let them in again."
    PERSON_LINKED = "person.linked", "An operator linked an identity to the person it belongs to."
    PERSON_UNLINKED = "person.unlinked", "An operator undid such a link."
    PERSON_BROKE_GLASS = "person.broke_glass", "Somebody came into the admin by a password, past the provider."
    PERSON_PASSWORD_CHANGED = "person.password_changed", "Somebody changed the password by which they come in."
    AUDIT_KEY_CHANGED = "audit.key_changed", "Another key signs the seals from now on; the former key vouched for it."
    AUDIT_KEY_REVOKED = "audit.key_revoked", "A key of the seals is good for no seal from a number on."


for _word in Action:
    EVENTS.labels(str(_word))


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
    before = {
        "actor": {"issuer": actor.identity.issuer, "kind": str(actor.kind), "subject": actor.identity.subject},
        "at": instant(event.at),
        "cause": str(event.cause) if event.cause else None,
    }
    after = {
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
    told = dumps(changes) if changes else b"{}"
    return b'%s,"changes":%s,%s' % (_plain(before)[:-1], told, _plain(after)[1:])


_PLAIN = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(texts: Mapping[str, Any]) -> bytes:
    """Of texts, small numbers and names of our own: those Python writes as RFC 8785 has it, in a tenth of the time."""
    return _PLAIN.encode(texts).encode()


def _identity(actor: Actor) -> dict[str, str] | None:
    if actor.on_behalf_of is None:
        return None
    return {"issuer": actor.on_behalf_of.issuer, "subject": actor.on_behalf_of.subject}


def instant(at: datetime) -> str:
    """A moment as RFC 3339 has it: UTC, microseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_COLUMNS = (
    "id, event_type, role, timestamp, trace_id, metadata, subject_type, subject_id, seq, from_status, to_status, body,"
    " hash, prev_hash, tenant, actor_issuer, actor_subject, actor_kind, on_behalf_of_issuer, on_behalf_of_subject, via,"
    " reason, cause, request_id, ip"
)
_INSERT = f"INSERT INTO audit_events ({_COLUMNS}) VALUES ({', '.join(['%s'] * len(_COLUMNS.split(',')))})"
_COPY = f"COPY audit_events ({_COLUMNS}) FROM STDIN"


_LAST = """
SELECT DISTINCT ON (subject_id) subject_id, id FROM audit_events
WHERE subject_type = %s AND subject_id = ANY(%s) AND seq IS NOT NULL ORDER BY subject_id, seq DESC
"""


Statement = tuple[str, Sequence[Any]]
"""Some SQL, with a place for each of its values."""


def last_events(subject_type: str, subject_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Return the id of the last event in the chain of each subject."""
    if not subject_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_LAST, [subject_type, list(subject_ids)])
        return dict(cursor.fetchall())


def record(made: Link, *, told: Statement | None = None) -> None:
    """Append one event. Inside a write boundary only: it commits or rolls back with what it tells of.

    `told` is the statement that does what the event tells of. It goes first, in one message with the event's own: for
    each message a thread gives up the interpreter, and waits to have it again.
    """
    sql, values = told or ("", ())
    with connection.cursor() as cursor:
        cursor.execute(f"{sql}; {_INSERT}" if sql else _INSERT, [*values, *_row(made)])
    _count_once_committed([made])


def record_many(batch: Sequence[Link]) -> None:
    """Append a batch by COPY, which is four times as fast as one INSERT an event."""
    # Django wraps the errors of its own calls, and COPY is psycopg's: unwrapped, a deadlock would not be repeated.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for made in batch:
            copy.write_row(_row(made))
    _count_once_committed(batch)


def _count_once_committed(batch: Sequence[Link]) -> None:
    def count() -> None:
        for made in batch:
            EVENTS.labels(str(made.event.action)).inc()
        called = Counter(made.event.tenant for made in batch if made.event.actor.kind != Kind.JOB)
        for tenant, events in called.items():
            spend_events(tenant, events)

    # Robust: what is committed is answered, whether or not it could be counted.
    transaction.on_commit(count, robust=True)


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
