"""What the database has: every row with a chain, its events, who held what, and what was left behind."""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from sessions_app.models import Approval, Recorded, Session, Task
from sessions_app.models.recorded import moves

SERVICE = "orchestrator-under-test"
"""What the service's connections call themselves, so that those it leaves behind are known."""

Row = dict[str, Any]

_MODELS: tuple[type[Recorded], ...] = (Session, Task, Approval)

LEGAL = {model.NOUN: moves(model) for model in _MODELS}
"""By noun and state: where its rows may move."""

STAYING = frozenset({"changed", "cancel_requested", "voted", "consumed"})
"""What an event may tell of a row that stays in its state, without the noun."""

# What a caller marked is told by their own event: a job has reasons of its own, and so has what another event caused.
_EVENTS = """
SELECT *, CASE WHEN via <> 'job' AND cause IS NULL THEN coalesce(
  nullif(reason, ''), metadata #>> '{changes,metadata,key}', metadata #>> '{changes,data,key}',
  metadata #>> '{changes,output,key}') END AS key
FROM audit_events WHERE seq IS NOT NULL ORDER BY subject_id, seq
"""


@dataclass(frozen=True)
class Effect:
    """An event that a call with this key led to."""

    key: str
    subject: str
    seq: int
    at: float


@dataclass
class Stored:
    """What the database has, by the ids of the rows: of sessions, tasks and approvals alike."""

    rows: dict[str, Row]
    """Each with its `noun`."""
    chains: dict[str, list[Row]]
    attempts: dict[str, list[Row]]
    """The ownerships of each task, by epoch."""
    effects: dict[str, list[Effect]]
    """By key."""
    left: list[str]

    @classmethod
    def read(cls, connection: "psycopg.Connection[Any]", patience: float, ended: bool) -> "Stored":
        """Read it, having waited as long as `patience` for what the service leaves behind to go."""
        left = _left_over(connection, patience, ended)
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = {}
            for model in _MODELS:
                for row in cursor.execute(f"SELECT * FROM {model._meta.db_table}").fetchall():
                    rows[str(row["id"])] = {"noun": model.NOUN, **row}
            attempts = cursor.execute("SELECT * FROM task_attempts ORDER BY task_id, epoch").fetchall()
            events = cursor.execute(_EVENTS).fetchall()
        return cls(rows, _by(events, "subject_id"), _by(attempts, "task_id"), _effects(events), left)


def _by(rows: list[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[str(row[column])].append(row)
    return found


def _effects(events: list[Row]) -> dict[str, list[Effect]]:
    found: dict[str, list[Effect]] = defaultdict(list)
    for event in events:
        if event["key"]:
            at: datetime = event["timestamp"]
            found[event["key"]].append(Effect(event["key"], str(event["subject_id"]), event["seq"], at.timestamp()))
    return found


_LEFT_OVER = """
SELECT format('%%s: transaction open for %%s', application_name, clock_timestamp() - xact_start)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND xact_start IS NOT NULL
UNION ALL
SELECT format('%%s: connection', application_name) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND %s
UNION ALL
SELECT format('lock: %%s', locktype) FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _left_over(connection: "psycopg.Connection[Any]", patience: float, ended: bool) -> list[str]:
    deadline = time.monotonic() + patience
    while left := [str(row[0]) for row in connection.execute(_LEFT_OVER, [SERVICE, ended]).fetchall()]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.02)
    return []
