"""What transactional tests end with, in place of Django's `flush`: the service's role may not TRUNCATE, and the trail
refuses it.
"""

from typing import Any

import psycopg

from tests.database import close_kept, kept_owner_connection

TABLES = (
    "audit_sealer_state",
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
    "refusal_counts",
    "maintenance_jobs",
    "maintenance_poison_rows",
)
SMALL = 4 * 1024 * 1024
"""Up to this many bytes a table is emptied row by row: a TRUNCATE makes every index anew, which takes far longer."""

_FULL = " UNION ALL ".join(
    f"SELECT '{table}', pg_relation_size('{table}') WHERE EXISTS (SELECT FROM {table})" for table in TABLES
)
_TRIGGERS = """
SELECT c.relname, t.tgname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relname = ANY(%s)
"""

# As it was found, so that a migration which forgot to say ALWAYS is not mended here.
ENABLE = {"A": "ENABLE ALWAYS", "O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA"}


def empty() -> None:
    """Empty what is not empty, as the tables' owner, the refusing triggers lifted within one transaction."""
    try:
        _empty(kept_owner_connection())
    except psycopg.OperationalError:
        # A test may have ended every connection there was.
        close_kept()
        _empty(kept_owner_connection())


def _empty(connection: psycopg.Connection[Any]) -> None:
    """In three round trips, since it is done after every test that writes."""
    sizes: dict[str, int] = dict(connection.execute(_FULL).fetchall())
    if not sizes:
        return
    large = max(sizes.values()) > SMALL
    full = [table for table in TABLES if large or table in sizes]
    triggers = connection.execute(_TRIGGERS, [full]).fetchall()
    statements = [f"ALTER TABLE {table} DISABLE TRIGGER USER" for table in {table for table, _, _ in triggers}]
    statements += [f"TRUNCATE {', '.join(TABLES)} CASCADE"] if large else [f"DELETE FROM {table}" for table in full]
    # What is deferred must be over before the triggers are back.
    statements.append("SET CONSTRAINTS ALL IMMEDIATE")
    statements += [f"ALTER TABLE {table} {ENABLE[mode]} TRIGGER {trigger}" for table, trigger, mode in triggers]
    with connection.transaction():
        connection.execute("; ".join(statements))
