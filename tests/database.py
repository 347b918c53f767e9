"""Connections to the test database as somebody else than the service."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection
from psycopg.conninfo import make_conninfo

from orchestrator import roles


def address(role: str | None = None) -> str:
    """The test database of this worker, as a role; as a superuser where none is named."""
    server = os.environ["TEST_DATABASE_URL"]
    acting = roles.acting_as(server, role) if role else server
    return make_conninfo(acting, dbname=connection.settings_dict["NAME"])


def owner_connection() -> psycopg.Connection[Any]:
    """As the owner of the tables."""
    return psycopg.connect(address(roles.OWNER), autocommit=True)


_kept: list[psycopg.Connection[Any]] = []


def kept_owner_connection() -> psycopg.Connection[Any]:
    """As the owner, one connection for all tests of this worker: to connect takes longer than most of them write."""
    if not _kept or _kept[0].closed:
        _kept[:] = [owner_connection()]
    return _kept[0]


def close_kept() -> None:
    """Let go of it: before the database is dropped, or where it was cut."""
    while _kept:
        _kept.pop().close()


def service_connection() -> psycopg.Connection[Any]:
    """As the service, beside Django's own connection."""
    return psycopg.connect(address(roles.SERVICE), autocommit=True)


def worker_connection() -> psycopg.Connection[Any]:
    """As the worker, who may write seals."""
    return psycopg.connect(address(roles.WORKER), autocommit=True)


@contextmanager
def as_worker() -> Iterator[None]:
    """Let Django's connections, of this thread and of new ones, be the worker's while the block runs."""
    options = connection.settings_dict["OPTIONS"]
    before = options["options"]
    connection.close()
    options["options"] = before.replace(f"role={roles.SERVICE}", f"role={roles.WORKER}")
    try:
        yield
    finally:
        connection.close()
        options["options"] = before


def superuser_connection() -> psycopg.Connection[Any]:
    """As somebody who may do anything."""
    return psycopg.connect(address(), autocommit=True)


@contextmanager
def without_trigger(table: str, trigger: str) -> Iterator[None]:
    """Lift one trigger, as the owner, so that what another one refuses can be told apart."""
    with owner_connection() as connection:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        try:
            yield
        finally:
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
