"""The `flush` that transactional tests end with. The service's role may not TRUNCATE, and the trail refuses it."""

from typing import Any

import psycopg
from django.core.management.base import BaseCommand

from tests.database import owner_connection

TABLES = (
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
REFUSALS = {"audit_events": "audit_events_append_only"} | {
    table: f"{table}_no_truncate" for table in ("sessions", "approval_decisions", "approvals", "task_attempts", "tasks")
}


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
        """Truncate."""
        with owner_connection() as connection, connection.transaction():
            self._empty(connection)

    def _empty(self, connection: psycopg.Connection) -> None:
        found = connection.execute("SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal").fetchall()
        was: dict[str, str] = dict(found)
        for table, trigger in REFUSALS.items():
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        connection.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE")
        for table, trigger in REFUSALS.items():
            connection.execute(f"ALTER TABLE {table} {ENABLE[was[trigger]]} TRIGGER {trigger}")
