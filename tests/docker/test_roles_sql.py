"""docker/postgres/roles.sql makes the roles that `make run` makes."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from orchestrator import roles
from orchestrator.embedded import PROGRAMS, Server
from tests.gunicorn_server import HERE

ROLES = """
SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconfig
FROM pg_roles WHERE rolname LIKE 'orchestrator%' ORDER BY 1
"""
MEMBERS = """
SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members
WHERE member::regrole::text LIKE 'orchestrator%'
"""
DATABASE = """
SELECT pg_get_userbyid(datdba), datacl::text FROM pg_database WHERE datname = %s
"""


@pytest.fixture
def server() -> Iterator[Server]:
    """One without the roles, which belong to a whole server."""
    with TemporaryDirectory(prefix="orchestrator-roles-") as folder:
        Path(folder).chmod(0o755)
        server = Server.within(Path(folder))
        server.start({"fsync": "off"})
        try:
            yield server
        finally:
            server.stop()


def made_by_sql(server: Server, database: str) -> None:
    script = str(HERE / "docker" / "postgres" / "roles.sql")
    command = [
        str(PROGRAMS / "psql"),
        "-X",
        "-q",
        "-v",
        f"database={database}",
        "-f",
        script,
        server.address("postgres"),
    ]
    passwords = {"OWNER_PASSWORD": "a'b\"c", "SERVICE_PASSWORD": "d", "WORKER_PASSWORD": "e"}
    subprocess.run(command, env={**os.environ, **passwords}, check=True, capture_output=True)


def test_the_sql_makes_what_make_run_makes_and_again_does_no_harm(server: Server) -> None:
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:

        def told(database: str) -> list[list[Any]]:
            known = (connection.execute(ROLES), connection.execute(MEMBERS), connection.execute(DATABASE, [database]))
            return [cursor.fetchall() for cursor in known]

        for _ in range(2):
            made_by_sql(server, "by_sql")
        by_sql = told("by_sql")
        assert len(by_sql[0]) == 3
        connection.execute("DROP DATABASE by_sql")
        for role in (roles.OWNER, roles.WORKER, roles.SERVICE):
            connection.execute(f"DROP ROLE {role}")
        roles.make_roles(connection)
        roles.make_database(connection, "by_run")
        assert told("by_run") == by_sql
        kept = "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%'"
        made_by_sql(server, "by_run")
        assert connection.execute(kept).fetchone() == (3,)
