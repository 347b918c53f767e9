"""The `flush` that transactional tests end with. The service's role may not TRUNCATE, and the trail refuses it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management.base import BaseCommand

from tests.database import owner_connection

TABLES = (
    "audit_seals",
    "audit_events",
    "sessions",
    "approval_decisions",
    "approvals",
    "task_attempts",
    "tasks",
    "people_person",
    "django_session",
    "idempotency_records",
)
SMALL = 4 * 1024 * 1024
"""Up to this many bytes a table is emptied row by row: a TRUNCATE makes every index anew, which takes far longer."""

_ANY = "SELECT EXISTS (SELECT FROM {})"
_TRIGGERS = """
SELECT c.relname, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relname = ANY(%s)
"""

# As it was found, so that a migration which forgot to say ALWAYS is not mended here.
ENABLE = {"A": "ENABLE ALWAYS", "O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA"}


class Command(BaseCommand):
    """Empties the tables as their owner, the refusing triggers lifted within one transaction."""

    stealth_options = ("reset_sequences", "allow_cascade", "inhibit_post_migrate")

    def add_arguments(self, parser: Any) -> None:
        """Django's own options, which make no difference here."""
        parser.add_argument("--database")
        parser.add_argument("--no-input", action="store_false", dest="interactive")

    def handle(self, *args: Any, **options: Any) -> None:
        """Empty what is not empty."""
        with owner_connection() as connection, connection.transaction():
            full = [table for table in TABLES if connection.execute(_ANY.format(table)).fetchone() == (True,)]
            sizes = "SELECT coalesce(max(pg_relation_size(name::regclass)), 0) FROM unnest(%s::text[]) AS name"
            (largest,) = connection.execute(sizes, [full]).fetchone() or (0,)
            with _lifted(connection, full if largest <= SMALL else TABLES):
                if largest > SMALL:
                    connection.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
                for table in full if largest <= SMALL else ():
                    connection.execute(f"DELETE FROM {table}")
                # What is deferred must be over before the triggers are back.
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


@contextmanager
def _lifted(connection: psycopg.Connection[Any], tables: Sequence[str]) -> Iterator[None]:
    """No trigger of ours refuses, or queues, what is done to these tables."""
    found = connection.execute(_TRIGGERS, [list(tables)]).fetchall()
    for table in {table for table, _, _ in found}:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    yield
    for table, trigger, mode in found:
        connection.execute(f"ALTER TABLE {table} {ENABLE[mode]} TRIGGER {trigger}")
