"""Work as production makes it, its chain as the database has it, and events written by hand."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
from django.db import connection
from psycopg import sql

from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.clock import database_now
from sessions_app.models import Approval, Recorded, Session, Task
from sessions_app.transitions import approvals
from sessions_app.transitions import session as sessions
from sessions_app.transitions.approvals import Question
from sessions_app.transitions.change import create
from tests.database import superuser_connection

T = TypeVar("T")

GENESIS = bytes(32)

Event = dict[str, Any]
"""An event's columns by name."""


# What production makes.


def actor(
    subject: str = "alice",
    *,
    roles: frozenset[Role] = frozenset({Role.AGENT}),
    agent_roles: frozenset[str] = frozenset({"finance"}),
    tenant: str = "default",
    on_behalf_of: Identity | None = None,
    origin: Origin = Origin(Via.API, "request-1", "trace-1", "192.0.2.7"),  # noqa: B008  it is frozen
) -> Actor:
    """An agent of the role finance, unless told otherwise."""
    return Actor(
        Identity("https://issuer.example", subject),
        tenant,
        Kind.AGENT,
        origin,
        roles=roles,
        agent_roles=agent_roles,
        on_behalf_of=on_behalf_of,
    )


def open_session(
    *,
    by: Actor | None = None,
    role: str = "finance",
    task: Task | None = None,
    metadata: Mapping[str, Any] | None = None,
    lasting: timedelta = timedelta(days=1),
) -> Session:
    """A pending session."""
    return boundary.write(
        lambda: sessions.open_session(
            actor=by or actor(), role=role, task=task, metadata=metadata or {}, lasting=lasting
        )
    )


def move_session(session: Session, *states: str, by: Actor | None = None, reason: str | None = None) -> Session:
    """The session after moving through these states, one transaction each."""
    for status in states:
        session = _moved(session, status, by or actor(), reason)
    return session


def _moved(session: Session, status: str, by: Actor, reason: str | None) -> Session:
    return boundary.write(lambda: sessions.amend(session, actor=by, status=status, reason=reason))


def amend_session(session: Session, *, by: Actor | None = None, **fields: Any) -> Session:
    """The session with other contents."""
    return boundary.write(lambda: sessions.amend(session, actor=by or actor(), fields=fields))


def new_task(*, by: Actor | None = None, to_role: str = "finance", **columns: Any) -> Task:
    """A pending task for a role."""
    creator = by or actor("mona")
    plain = {"task_type": "routing", "from_role": "manager", "trace_id": creator.origin.trace_id}
    task = {**plain, "to_role": to_role, **columns}
    return boundary.write(lambda: create(Task(**task), Action.TASK_CREATED, at=database_now(), actor=creator))


def new_approval(task: Task, *, by: Actor | None = None, approver_role: str = "manager", **question: Any) -> Approval:
    """A pending approval of a task, which waits for it if nobody holds it."""
    asked = Question(**{"approver_role": approver_role, "lasting": timedelta(days=1), **question})
    return boundary.write(lambda: approvals.request(task, asked, actor=by or actor()))


# The chain, as it is stored.


def chain(row: Recorded) -> list[Event]:
    """The events of a row's chain by `seq`, each as its columns, straight from the table."""
    return events("subject_type = %s AND subject_id = %s AND seq IS NOT NULL", row.NOUN, row.pk)


def events(condition: str = "true", *values: Any) -> list[Event]:
    """The events that a condition in SQL names, by `seq`, each as its columns."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM audit_events WHERE {condition} ORDER BY seq", values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def hash_of(prev_hash: bytes, body: str) -> bytes:
    """What the hash of an event is to be, by the formula and not by the code under test."""
    return hashlib.sha256(b"audit/v1\x00" + prev_hash + body.encode("utf-8")).digest()


def assert_chain_holds(row: Recorded) -> None:
    """The stored chain is whole, and the stored row is what its last event says."""
    links = chain(row)
    before = GENESIS
    for seq, event in enumerate(links, start=1):
        assert event["seq"] == seq
        assert bytes(event["prev_hash"]) == before
        assert bytes(event["hash"]) == hash_of(before, event["body"])
        assert event["from_status"] == (links[seq - 2]["to_status"] if seq > 1 else None)
        before = bytes(event["hash"])
    stored = type(row)._default_manager.get(pk=row.pk)
    assert (stored.version, bytes(stored.audit_head)) == (len(links), before)
    assert stored.status == links[-1]["to_status"]


# Somebody else, at the same time.


def in_a_thread(run: Callable[[], T]) -> Future[T]:
    """Begin something on a connection of its own."""
    future: Future[T] = Future()

    def settle() -> None:
        try:
            future.set_result(run())
        except BaseException as error:
            future.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=settle, daemon=True).start()
    return future


def wait_for_a_waiter() -> None:
    """Until somebody waits for a lock in this database."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 5
    with superuser_connection() as beside:
        while time.monotonic() < deadline:
            if beside.execute(waiting).fetchone():
                return
            time.sleep(0.002)
    raise AssertionError("Nobody waits.")


# Events written by hand, as somebody with SQL and the formula would.


def written(**columns: Any) -> Event:
    """The columns of an event that is true to its hash, whatever it says."""
    known: Event = {
        "id": uuid4(),
        "event_type": "session.changed",
        "role": "finance",
        "timestamp": datetime.now(UTC),
        "trace_id": "trace-1",
        "metadata": json.dumps({"changes": {}}),
        "subject_type": None,
        "subject_id": None,
        "seq": None,
        "from_status": None,
        "to_status": None,
        "prev_hash": None,
        "tenant": "default",
        "actor_issuer": "https://issuer.example",
        "actor_subject": "alice",
        "actor_kind": "agent",
        "on_behalf_of_issuer": "https://issuer.example",
        "on_behalf_of_subject": "petra",
        "via": "api",
        "reason": "because",
        "cause": uuid4(),
        "request_id": "request-1",
        "ip": "192.0.2.7",
        **columns,
    }
    body = _body(known)
    return {**known, "body": body, "hash": hash_of(known["prev_hash"] or GENESIS, body)}


def written_for(row: Recorded, **columns: Any) -> Event:
    """The columns of the event that would lead a row to its next version, its status kept, unless told otherwise."""
    following: Event = {
        "event_type": f"{row.NOUN}.changed",
        "subject_type": row.NOUN,
        "subject_id": row.pk,
        "seq": row.version + 1,
        "from_status": str(row.status),
        "to_status": str(row.status),
        "prev_hash": bytes(row.audit_head),
        "tenant": row.tenant,
    }
    return written(**{**following, **columns})


def _body(columns: Event) -> str:
    said = {
        "actor": {
            "issuer": columns["actor_issuer"],
            "kind": columns["actor_kind"],
            "subject": columns["actor_subject"],
        },
        "at": columns["timestamp"].isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "cause": _text(columns["cause"]),
        "changes": json.loads(columns["metadata"])["changes"],
        "event_type": columns["event_type"],
        "from": columns["from_status"],
        "id": str(columns["id"]),
        "ip": columns["ip"],
        "on_behalf_of": {"issuer": columns["on_behalf_of_issuer"], "subject": columns["on_behalf_of_subject"]},
        "reason": columns["reason"],
        "request_id": columns["request_id"],
        "role": columns["role"],
        "seq": columns["seq"],
        "subject": (
            None
            if columns["subject_id"] is None and columns["subject_type"] is None
            else {"id": _text(columns["subject_id"]), "type": columns["subject_type"]}
        ),
        "tenant": columns["tenant"],
        "to": columns["to_status"],
        "trace_id": columns["trace_id"],
        "version": columns["seq"],
        "via": columns["via"],
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def insert(beside: psycopg.Connection[Any], table: str, columns: Mapping[str, Any]) -> None:
    """INSERT a row in plain SQL."""
    beside.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
        ),
        list(columns.values()),
    )
