"""Many events, fast: the chains of many sessions, true to their hashes, written past the triggers by a superuser."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from audit_app import trail
from audit_app.trail import Action, Event
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from tests.database import superuser_connection

_LIFE: tuple[tuple[Action, str | None, str, dict[str, Any]], ...] = (
    (Action.SESSION_CREATED, None, "pending", {"role": "finance", "metadata": {}, "task_id": None}),
    (Action.SESSION_ACTIVATED, "pending", "active", {}),
    (Action.SESSION_CHANGED, "active", "active", {"metadata": {"quarter": "2026-Q4", "cost": {"centre": 4711}}}),
    (Action.SESSION_COMPLETED, "active", "completed", {}),
)
EACH = len(_LIFE)
"""How many events a session has."""

_SESSION = (
    "COPY sessions (id, tenant, created_at, updated_at, created_by_issuer, created_by_subject, version, audit_head,"
    " role, status, metadata, expires_at) FROM STDIN"
)


def lives(sessions: int, *, tenant: str = "default", subject: str = "alice") -> None:
    """So many sessions that were opened, begun, amended and completed, EACH events a session."""
    with superuser_connection() as beside, beside.transaction():
        beside.execute("SET LOCAL session_replication_role = replica")
        beside.execute("ALTER TABLE audit_events DISABLE TRIGGER audit_events_are_true")
        beside.execute("ALTER TABLE sessions DISABLE TRIGGER sessions_complete")
        _write(beside, sessions, _actor(tenant, subject))
        beside.execute("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_are_true")
        beside.execute("ALTER TABLE sessions ENABLE ALWAYS TRIGGER sessions_complete")
    with superuser_connection() as beside:
        beside.execute("VACUUM (ANALYZE) audit_events")


def _actor(tenant: str, subject: str) -> Actor:
    origin = Origin(Via.API, "f4701466759a4a9cab9bc0c033b8eca1", "4bf92f3577b34da6a3ce929d0e0e4736", "192.0.2.7")
    return Actor(Identity("local", subject), tenant, Kind.PERSON, origin, roles=frozenset({Role.AGENT}))


def _write(beside: "psycopg.Connection[Any]", sessions: int, actor: Actor) -> None:
    began = datetime.now(UTC) - timedelta(milliseconds=sessions * EACH)
    heads: list[tuple[UUID, bytes]] = []
    with beside.cursor() as cursor, cursor.copy(trail._COPY) as copy:
        for n in range(sessions):
            session = uuid7()
            for made in _life(session, actor, began + timedelta(milliseconds=n * EACH)):
                copy.write_row(trail._row(made))
            heads.append((session, made.hash))
    with beside.cursor() as cursor, cursor.copy(_SESSION) as copy:
        for session, head in heads:
            said = (session, actor.tenant, began, began, "local", actor.identity.subject, EACH, head)
            copy.write_row((*said, "finance", "completed", Jsonb({}), began + timedelta(days=7)))


def _life(session: UUID, actor: Actor, began: datetime) -> Iterator[trail.Link]:
    before = trail.GENESIS
    for seq, (action, was, now, changes) in enumerate(_LIFE, start=1):
        made = trail.link(
            Event(
                action=action,
                tenant=actor.tenant,
                actor=actor,
                at=began + timedelta(milliseconds=seq),
                subject_type="session",
                subject_id=session,
                seq=seq,
                prev_hash=before,
                from_status=was,
                to_status=now,
                role="finance",
                changes=changes,
            )
        )
        before = made.hash
        yield made
