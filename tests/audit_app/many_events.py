"""Many events, fast: the chains of many sessions, true to their hashes, written past the triggers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from audit_app import trail
from audit_app.trail import Action, Event
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from tests.database import superuser_connection
from tests.mere_rows import Owner, settle, without_events

_METADATA = {"quarter": "2026-Q4", "cost": {"centre": 4711}}
_LIFE: tuple[tuple[Action, str | None, str, dict[str, Any]], ...] = (
    (Action.SESSION_CREATED, None, "pending", {"task_id": None, "metadata": {}}),
    (Action.SESSION_ACTIVATED, "pending", "active", {}),
    (Action.SESSION_CHANGED, "active", "active", {"metadata": _METADATA}),
    (Action.SESSION_COMPLETED, "active", "completed", {}),
)
_LASTING = timedelta(days=7)
EACH = len(_LIFE)
"""How many events a session has."""

_SESSION = (
    "COPY sessions (id, tenant, created_at, updated_at, created_by_issuer, created_by_subject, version, audit_head,"
    " role, status, metadata, expires_at) FROM STDIN"
)


def lives(sessions: int, *, tenant: str = "default", subject: str = "alice") -> None:
    """So many sessions that were opened, begun, amended and completed, EACH events a session."""
    with superuser_connection() as beside:
        write(beside, sessions, tenant=tenant, subject=subject)


def write(owner: Owner, sessions: int, *, tenant: str = "default", subject: str = "alice") -> None:
    """The same over a connection of the tables' owner."""
    with owner.transaction(), without_events(owner, "sessions"):
        for trigger in ("audit_events_are_true", "audit_events_of_now"):
            owner.execute(f"ALTER TABLE audit_events DISABLE TRIGGER {trigger}")
        _write(owner, sessions, _actor(tenant, subject))
        for trigger in ("audit_events_are_true", "audit_events_of_now"):
            owner.execute(f"ALTER TABLE audit_events ENABLE ALWAYS TRIGGER {trigger}")
    settle(owner, "audit_events", "sessions")


def _actor(tenant: str, subject: str) -> Actor:
    origin = Origin(Via.API, "f4701466759a4a9cab9bc0c033b8eca1", "4bf92f3577b34da6a3ce929d0e0e4736", "192.0.2.7")
    return Actor(Identity("local", subject), tenant, Kind.PERSON, origin, roles=frozenset({Role.AGENT}))


def _write(beside: Owner, sessions: int, actor: Actor) -> None:
    began = datetime.now(UTC) - timedelta(milliseconds=sessions * EACH)
    ends = []
    with beside.cursor() as cursor, cursor.copy(trail._COPY) as copy:
        for n in range(sessions):
            session = uuid7()
            links = list(_life(session, actor, began + timedelta(milliseconds=n * EACH)))
            for made in links:
                copy.write_row(trail._row(made))
            ends.append((links[0].event, links[-1]))
    with beside.cursor() as cursor, cursor.copy(_SESSION) as copy:
        for first, last in ends:
            said = (first.subject_id, actor.tenant, first.at, last.event.at, "local", actor.identity.subject, EACH)
            copy.write_row((*said, last.hash, "finance", "completed", Jsonb(_METADATA), first.at + _LASTING))


def _life(session: UUID, actor: Actor, began: datetime) -> Iterator[trail.Link]:
    before = trail.GENESIS
    for seq, (action, was, now, changes) in enumerate(_LIFE, start=1):
        at = began + timedelta(milliseconds=seq)
        made = trail.link(
            Event(
                action=action,
                tenant=actor.tenant,
                actor=actor,
                at=at,
                subject_type="session",
                subject_id=session,
                seq=seq,
                prev_hash=before,
                from_status=was,
                to_status=now,
                role="finance",
                changes=changes if seq > 1 else {**changes, "expires_at": trail.instant(at + _LASTING)},
            )
        )
        before = made.hash
        yield made
