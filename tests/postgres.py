"""A pytest plugin: the PostgreSQL that the tests run on. TEST_DATABASE_URL, or one from the wheel for this run alone.

Loaded by `-p tests.postgres` before the settings are read; xdist's workers inherit the address.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orchestrator import roles
from orchestrator.embedded import Server

# Nothing here outlives the run, so nothing needs to reach the disk.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
_var = Path(tempfile.gettempdir()) / f"orchestrator-tests-{os.getpid()}"
_own: list[Server] = []


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests() -> Iterator[None]:
    """A wrapper comes before pytest-django, which reads the settings."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _make_ready()
    yield


def _make_ready() -> None:
    """Start a server unless one is given, and make the roles."""
    os.environ["ORCHESTRATOR_VAR"] = str(_var)
    if not os.environ.get("TEST_DATABASE_URL"):
        server = Server.within(_var)
        _own.append(server)
        server.start(FAST)
        os.environ["TEST_DATABASE_URL"] = server.address("postgres")
    with psycopg.connect(os.environ["TEST_DATABASE_URL"], autocommit=True) as connection:
        roles.make_roles(connection)
        connection.execute(f"ALTER ROLE {roles.OWNER} CREATEDB")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop it again."""
    for server in _own:
        server.stop()
    shutil.rmtree(_var, ignore_errors=True)
