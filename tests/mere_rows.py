"""Rows without events, for plans and measurements: by COPY, with the triggers lifted that ask for the events."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import psycopg

TENANT, SMALL_TENANT = "default", "small"
HEAD = "\\\\x" + "00" * 32
NULL = "\\N"
_BLOCK = 1_000

Owner = psycopg.Connection[Any]


def write(owner: Owner, table: str, columns: str, lines: Iterable[str]) -> None:
    """COPY lines, each with its end, into a table with a chain of events."""
    with without_events(owner, table):
        copy(owner, table, columns, lines)


def copy(owner: Owner, table: str, columns: str, lines: Iterable[str]) -> None:
    """COPY lines, each with its end."""
    left = iter(lines)
    with owner.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as stream:
        while block := "".join(islice(left, _BLOCK)):
            stream.write(block)


@contextmanager
def without_events(owner: Owner, table: str) -> Iterator[None]:
    """Let rows come and go without their events, and put the triggers back before the transaction ends.

    Nor are the sessions of a task counted: that takes a lock for each task, of which a transaction has too few.
    """
    triggers = [f"{table}_complete", *(["sessions_of_task_are_bounded"] if table == "sessions" else [])]
    with owner.transaction():
        for trigger in triggers:
            owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        yield
        # Foreign keys are checked late, and a table with checks to come cannot be altered.
        owner.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for trigger in triggers:
            owner.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


def settle(owner: Owner, *tables: str) -> None:
    """What autovacuum does in time: statistics for the planner, and pages known to be visible."""
    owner.execute(f"VACUUM (ANALYZE) {', '.join(tables)}")
