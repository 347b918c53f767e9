"""The database of `make run`: its own, or the one that DATABASE_URL names; with its roles, migrated."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psycopg

from orchestrator import roles
from orchestrator.embedded import Server

HERE = Path(__file__).resolve().parent.parent
DATABASE = "orchestrator"
_PATIENCE_SECONDS = 5


class CannotRun(Exception):  # noqa: N818  something a person has to mend first
    """Says what, and how."""


@contextmanager
def alone_in(var: Path) -> Iterator[None]:
    """Hold the data folder: a second `make run` in it would stop this one's database when it ends."""
    var.mkdir(parents=True, exist_ok=True)
    with (var / "lock").open("w") as lock:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise CannotRun(f"another one runs in {var}. Set ORCHESTRATOR_VAR to another folder.")
            time.sleep(0.1)
        yield


def _locked(file: IO[str]) -> bool:
    """Take the record lock of POSIX. Not flock(): workers would inherit that and keep it when this process is gone."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def database(var: Path) -> Iterator[tuple[str, str]]:
    """The addresses of the owner and of the service: of DATABASE_URL if it is set, else of our own server."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given_database(given)
        return
    server = Server.within(var)
    started_by = os.getpid()
    try:
        server.start()
        yield own_database(server, var)
    finally:
        # A worker is a fork of this process and unwinds through here too; the server is not its to stop.
        if os.getpid() == started_by:
            server.stop()


def own_database(server: Server, var: Path) -> tuple[str, str]:
    """Roles and database on our own server. manage.py finds the service's address in `var/database_url`."""
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
        roles.make_roles(connection)
        roles.make_database(connection, DATABASE)
    service = server.address(DATABASE, roles.SERVICE)
    make_secret(var / "database_url", service, anew=True)
    return server.address(DATABASE, roles.OWNER), service


def given_database(service: str) -> tuple[str, str]:
    """
    With DATABASE_OWNER_URL set, both addresses as given. Else DATABASE_URL is the owner's, who makes the service's
    role if it is missing, and the service connects with the owner's address but acts as that role.
    """
    owner = os.environ.get("DATABASE_OWNER_URL")
    if owner:
        return owner, service
    try:
        with psycopg.connect(service, autocommit=True, connect_timeout=3) as connection:
            roles.make_role(connection, roles.SERVICE)
            roles.let_current_user_act_as(connection, roles.SERVICE)
    except psycopg.errors.InsufficientPrivilege as error:
        raise CannotRun(
            f"the role of DATABASE_URL may not make the role {roles.SERVICE}. As a superuser of that database:\n"
            f"  CREATE ROLE {roles.SERVICE}; GRANT {roles.SERVICE} TO <the role of DATABASE_URL>;"
        ) from error
    except psycopg.OperationalError as error:
        print(f"The database of DATABASE_URL is away ({error}): starting without it.", file=sys.stderr)
    return service, roles.acting_as(service, roles.SERVICE)


def migrate(owner: str) -> None:
    """Apply migrations as the owner. Where the database is away the service starts all the same, and says so."""
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=HERE,
        env={**os.environ, "DATABASE_URL": owner},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    if "OperationalError" not in done.stderr:
        raise CannotRun(f"migrating failed:\n{done.stderr}")
    print("Migrations were not applied: the database is away. `/readyz` tells when it is ready.", file=sys.stderr)


def make_secret(path: Path, text: str, *, anew: bool = False) -> None:
    """Write a file that its owner alone may read, unless it is there."""
    with suppress(FileExistsError):
        if anew:
            path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
