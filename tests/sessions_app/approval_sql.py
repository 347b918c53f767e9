"""Approvals and decisions written in plain SQL, as the service or the owner would, and what the database refuses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from sessions_app.models import Approval, Recorded
from tests import work
from tests.database import owner_connection, service_connection
from tests.sessions_app.approval_calls import nothing_moves

Beside = psycopg.Connection[Any]
Connect = Callable[[], Beside]

ISSUER = "local"
WRITERS: dict[str, Connect] = {"service": service_connection, "owner": owner_connection}


def say(beside: Beside, approval: Approval | UUID, decider: str = "petra", **columns: Any) -> UUID:
    """INSERT a decision, and nothing else: its id."""
    pk = uuid4()
    known = {
        "id": pk,
        "approval_id": approval.pk if isinstance(approval, Approval) else approval,
        "decider_issuer": ISSUER,
        "decider_subject": decider,
        "decider_kind": "person",
        "decision": "approved",
        "comments": "",
        "decided_at": "2026-01-01T00:00Z",
        "requester_issuer": "",
        "requester_subject": "",
    }
    work.insert(beside, "approval_decisions", {**known, **columns})
    return pk


def move(beside: Beside, row: Recorded, **columns: Any) -> None:
    """UPDATE a row with an event that is true to it, so that only what else is wrong with it is refused."""
    event = work.written_for(row, to_status=columns.get("status", str(row.status)))
    work.insert(beside, "audit_events", event)
    said = {**columns, "version": event["seq"], "audit_head": event["hash"]}
    sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in said)
    update = sql.SQL("UPDATE {} SET {} WHERE id = %s").format(sql.Identifier(row._meta.db_table), sets)
    assert beside.execute(update, [*said.values(), row.pk]).rowcount == 1


OTHER_DIGEST = bytes(range(32))
"""Of another action than that of `approval`: of one action there is one live request."""


def born(beside: Beside, like: Approval, **columns: Any) -> None:
    """INSERT an approval like this one, for another action, with an event that is true to it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM approvals WHERE id = %s", [like.pk])
        names = [column.name for column in cursor.description]
        row = dict(zip(names, cursor.fetchone() or (), strict=True))
    row = {**row, "id": uuid4(), "version": 1, "action_digest": OTHER_DIGEST, **columns}
    first = {"subject_id": row["id"], "seq": 1, "from_status": None, "prev_hash": work.GENESIS}
    event = work.written_for(like, **first, event_type="approval.created", to_status=row["status"])
    work.insert(beside, "approvals", {**row, "audit_head": event["hash"]})
    work.insert(beside, "audit_events", event)


@contextmanager
def refused(beside: Beside, error: type[psycopg.Error], why: str) -> Iterator[None]:
    """One transaction, which is refused for this reason and leaves everything as it was.

    `why` is the name of a constraint, or part of what is said.
    """
    with nothing_moves():
        with pytest.raises(error) as refusal, beside.transaction():
            yield
        assert why in (refusal.value.diag.constraint_name, refusal.value.diag.table_name) or why in str(refusal.value)
