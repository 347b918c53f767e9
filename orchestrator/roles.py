"""The roles of the database: the owner, who migrates; the service and its worker, which own nothing.

The worker may do what the service may, and write seals.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

OWNER = "orchestrator_owner"
SERVICE = "orchestrator_service"
WORKER = "orchestrator_worker"

SERVICE_SETTINGS = {
    "statement_timeout": "10s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "15s",
    "client_connection_check_interval": "1s",
    "jit": "off",
}
"""What the promises rest on: no statement, lock or transaction of the service outlives a gunicorn worker's patience."""

OWNER_SETTINGS = {"lock_timeout": "2s"}
"""A migration that waits for a lock gives up, rather than keep every writer waiting behind it."""


def make_roles(connection: Connection) -> None:
    """Make the roles where they are missing and give them their settings. Needs the right to make roles."""
    for role, settings in ((OWNER, OWNER_SETTINGS), (SERVICE, SERVICE_SETTINGS), (WORKER, SERVICE_SETTINGS)):
        make_role(connection, role)
        for name, value in settings.items():
            change = sql.SQL("ALTER ROLE {} SET {} = {}")
            connection.execute(change.format(sql.Identifier(role), sql.Identifier(name), sql.Literal(value)))
    let_worker_do_the_same(connection)


def let_worker_do_the_same(connection: Connection) -> None:
    """Grant the worker's role the rights of the service's. Needs the right to grant that role."""
    if not _is_member(connection, WORKER, SERVICE, "USAGE"):
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(SERVICE), sql.Identifier(WORKER)))


def _is_member(connection: Connection, member: str, role: str, right: str) -> bool:
    row = connection.execute("SELECT pg_has_role(%s, %s, %s)", [member, role, right]).fetchone()
    return bool(row and row[0])


def make_role(connection: Connection, role: str) -> None:
    """Make one role that may log in, if it is missing."""
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    if known is None:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))


def let_current_user_act_as(connection: Connection, role: str) -> None:
    """Grant a role to whoever is connected, unless they are a superuser and need no grant."""
    # From 16 on, whoever makes a role is a member of it without the right to take it on.
    needed = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    row = connection.execute("SELECT pg_has_role(current_user, %s, %s)", [role, needed]).fetchone()
    if row is None or not row[0]:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))


def make_database(connection: Connection, name: str) -> None:
    """Make the owner's database if it is missing; nobody but our roles may connect or make temporary tables."""
    known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
    database = sql.Identifier(name)
    if known is None:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(OWNER)))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(SERVICE)))


def acting_as(address: str, role: str) -> str:
    """The same address, each connection of which takes on a role (and the settings of the service and its worker)."""
    return _with(address, {"role": role, **({} if role == OWNER else SERVICE_SETTINGS)})


def with_settings(address: str) -> str:
    """The same address, each connection of which has the service's settings, whatever its role's are."""
    return _with(address, SERVICE_SETTINGS)


def _with(address: str, wanted: Mapping[str, str]) -> str:
    parts = conninfo_to_dict(address)
    options = " ".join([str(parts.get("options") or ""), *(f"-c {name}={value}" for name, value in wanted.items())])
    return "postgresql:///?" + urlencode({**parts, "options": options.strip()}, quote_via=quote)
