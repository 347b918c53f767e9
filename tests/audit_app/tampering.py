"""Tampering as a superuser can: guards lifted, rows rewritten."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from audit_app.models import AuditSeal
from audit_app.trail import instant
from sessions_app.models import Recorded
from tests import work
from tests.database import superuser_connection

Super = psycopg.Connection[Any]

_TABLES = ["audit_events", "audit_seals", "sessions", "tasks", "approvals", "task_attempts", "approval_decisions"]
# Each guard by its table: how it is lifted, and how it is put back.
_GUARDS = """
SELECT tgrelid::regclass::text, 'DISABLE TRIGGER ' || tgname, 'ENABLE ALWAYS TRIGGER ' || tgname
FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'A' AND tgrelid = ANY(%(tables)s::regclass[])
UNION ALL
SELECT conrelid::regclass::text, 'DROP CONSTRAINT ' || conname,
  'ADD CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE contype IN ('c', 'u') AND conrelid = ANY(%(tables)s::regclass[])
UNION ALL
SELECT attrelid::regclass::text, format('ALTER COLUMN %%I DROP NOT NULL', attname),
  format('ALTER COLUMN %%I SET NOT NULL', attname)
FROM pg_attribute a WHERE attnotnull AND attnum > 0 AND attrelid = ANY(%(tables)s::regclass[]) AND NOT EXISTS (
  SELECT FROM pg_constraint WHERE contype = 'p' AND conrelid = attrelid AND attnum = ANY(conkey))
"""


@contextmanager
def unguarded() -> Iterator[Super]:
    """Without triggers and constraints while the block runs. They come back once every row is gone."""
    with superuser_connection() as beside:
        guards = beside.execute(_GUARDS, {"tables": _TABLES}).fetchall()
        assert len(guards) > 50
        for table, lift, _ in guards:
            beside.execute(f"ALTER TABLE {table} {lift}")
        try:
            yield beside
        finally:
            beside.execute(f"TRUNCATE {', '.join(_TABLES)} CASCADE")
            for table, _, put_back in guards:
                beside.execute(f"ALTER TABLE {table} {put_back}")


def rewrite(beside: Super, event: work.Event, **columns: Any) -> None:
    """Other values in an event's columns."""
    _update(beside, "audit_events", "id", event["id"], columns)


def point(beside: Super, row: Recorded, **columns: Any) -> None:
    """Other values in a row's columns."""
    _update(beside, row._meta.db_table, "id", row.pk, columns)


def forge(beside: Super, seal: AuditSeal, **columns: Any) -> None:
    """Other values in a seal's columns."""
    _update(beside, "audit_seals", "number", seal.number, columns)


def _update(beside: Super, table: str, key: str, value: Any, columns: Mapping[str, Any]) -> None:
    sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)
    update = sql.SQL("UPDATE {} SET {} WHERE {} = %s").format(sql.Identifier(table), sets, sql.Identifier(key))
    assert beside.execute(update, [*columns.values(), value]).rowcount == 1


def delete(beside: Super, *events: work.Event) -> None:
    """As if they had never been."""
    beside.execute("DELETE FROM audit_events WHERE id = ANY(%s)", [[event["id"] for event in events]])


def said(event: work.Event, **otherwise: Any) -> str:
    """An event's text with something else in it."""
    return json.dumps(
        {**json.loads(event["body"]), **otherwise}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )


def tell_otherwise(beside: Super, row: Recorded, seq: int, reason: str) -> None:
    """Another reason in one event of a row, and every text, hash and head after it made right for that."""
    retell(beside, row, seq, reason=reason)


def set_clock(beside: Super, row: Recorded, times: Mapping[int, datetime]) -> None:
    """As if the events of a row had these times, by their `seq`; every text, hash and head is right for that."""
    _retell(beside, row, lambda event: {"timestamp": times[event["seq"]]})
    point(beside, row, created_at=times[1], updated_at=times[max(times)])


def retell(beside: Super, row: Recorded, seq: int, **columns: Any) -> None:
    """Other values in one event of a row, and every text, hash and head from there on made right for that."""
    _retell(beside, row, lambda event: columns if event["seq"] == seq else {})


def append(beside: Super, row: Recorded, status: str, **columns: Any) -> None:
    """One more event of a row, which leads it to a state, and the row as that event says."""
    event = work.written_for(row, to_status=status, **columns)
    work.insert(beside, "audit_events", event)
    told = {"version": event["seq"], "audit_head": event["hash"], "updated_at": event["timestamp"]}
    point(beside, row, status=status, **told)


def _retell(beside: Super, row: Recorded, otherwise: Callable[[work.Event], dict[str, Any]]) -> None:
    before = work.GENESIS
    for event in work.chain(row):
        told = otherwise(event)
        body = said(event, **_as_said(event, told))
        digest = work.hash_of(before, body)
        rewrite(beside, event, body=body, hash=digest, prev_hash=before, **told)
        before = digest
    point(beside, row, audit_head=before)


_SAID_AS = {"timestamp": "at", "to_status": "to", "from_status": "from"}
"""Columns that have another name in the text."""


def _as_said(event: work.Event, told: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an event's text for other values in its columns."""
    members: dict[str, Any] = {}
    for name, value in told.items():
        if name.startswith("actor_"):
            actor = members.setdefault("actor", dict(json.loads(event["body"])["actor"]))
            actor[name.removeprefix("actor_")] = value
        elif name == "metadata":
            members["changes"] = json.loads(value)["changes"]
        else:
            members[_SAID_AS.get(name, name)] = instant(value) if isinstance(value, datetime) else value
    return members


def seal_hash(body: str) -> bytes:
    """The hash of a seal's text, by the formula and not by the code under test."""
    return hashlib.sha256(b"seal/v1\x00" + body.encode()).digest()
