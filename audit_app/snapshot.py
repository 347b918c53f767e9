"""Several connections that see the database as it was at one moment, however long they read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connections

Raw = psycopg.Connection[Any]


@contextmanager
def snapshot() -> Iterator[tuple[Raw, str]]:
    """A connection in a transaction that only reads, and the name under which others can see what it sees."""
    with _transaction() as connection:
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield connection, row[0]


@contextmanager
def beside(name: str) -> Iterator[Raw]:
    """Another connection to the same moment; the first one's transaction must be open still."""
    with _transaction() as connection:
        # A literal by PostgreSQL's grammar; the name is PostgreSQL's own, of digits and dashes.
        connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
        yield connection


@contextmanager
def _transaction() -> Iterator[Raw]:
    wrapper = connections.create_connection("default")
    try:
        wrapper.ensure_connection()
        connection: Raw = wrapper.connection
        # psycopg's errors become Django's, by which a database that is away is known.
        with wrapper.wrap_database_errors:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # Whoever verifies reads everything, and that takes as long as it takes.
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL cursor_tuple_fraction = 1")
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield connection
    finally:
        wrapper.close()
