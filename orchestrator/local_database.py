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
from orchestrator.embedded import Server, ServerError

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
def database(var: Path) -> Iterator[str]:
    """The service's address of a migrated database: of DATABASE_URL if it is set, else of our own server."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given_database(given)
        return
    try:
        server = Server.within(var)
    except ServerError as error:
        raise CannotRun(str(error)) from error
    started_by = os.getpid()
    try:
        server.start()
        yield own_database(server, var)
    finally:
        # A worker is a fork of this process and unwinds through here too; the server is not its to stop.
        if os.getpid() == started_by:
            server.stop()


def own_database(server: Server, var: Path) -> str:
    """Roles and database on our own server. manage.py finds the addresses of service and worker in files."""
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
        roles.make_roles(connection)
        roles.make_database(connection, DATABASE)
    service = server.address(DATABASE, roles.SERVICE)
    make_secret(var / "database_url", service, anew=True)
    os.environ["WORKER_DATABASE_URL"] = server.address(DATABASE, roles.WORKER)
    make_secret(var / "worker_database_url", os.environ["WORKER_DATABASE_URL"], anew=True)
    migrate(server.address(DATABASE, roles.OWNER))
    return service


def given_database(given: str) -> str:
    """A database that is there already. Where it is away, the service starts all the same, and this follows.

    With DATABASE_OWNER_URL set, DATABASE_URL is the service's. Else it is the owner's, and the service connects with
    the owner's address but acts as its own role. So does the sweeper, unless WORKER_DATABASE_URL is set.
    """
    owner = os.environ.setdefault("DATABASE_OWNER_URL", given)
    os.environ.setdefault("WORKER_DATABASE_URL", roles.acting_as(owner, roles.WORKER))
    if not prepare(owner):
        print("The database is away: starting without it. /readyz tells when it is there.", file=sys.stderr)
        subprocess.Popen([sys.executable, "-m", "orchestrator.local_database"], cwd=HERE)
    return roles.acting_as(given, roles.SERVICE) if owner == given else roles.with_settings(given)


def prepare(owner: str) -> bool:
    """Make the roles of service and worker where they are missing, and migrate. False where the database is away.

    Raises CannotRun where the owner may not do that.
    """
    try:
        with psycopg.connect(owner, autocommit=True, connect_timeout=3) as connection:
            for role in (roles.SERVICE, roles.WORKER):
                roles.make_role(connection, role)
                roles.let_current_user_act_as(connection, role)
            roles.let_worker_do_the_same(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        raise CannotRun(
            f"the owner's role may neither make nor take on the roles of the service. As a superuser there:\n"
            f"  CREATE ROLE {roles.SERVICE} LOGIN; CREATE ROLE {roles.WORKER} LOGIN;"
            f" GRANT {roles.SERVICE} TO {roles.WORKER}; GRANT {roles.SERVICE}, {roles.WORKER} TO <the owner's role>;"
        ) from error
    except psycopg.OperationalError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return False
    migrate(owner)
    return True


def migrate(owner: str) -> None:
    """Apply migrations as the owner. Raises CannotRun where they fail."""
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=HERE,
        env={**os.environ, "DATABASE_URL": owner},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotRun(f"migrating failed:\n{done.stderr}")


def prepare_once_it_is_there() -> None:
    """Try until the database is back, for as long as the service lives that started this."""
    parent = os.getppid()
    while os.getppid() == parent and not prepare(os.environ["DATABASE_OWNER_URL"]):
        time.sleep(1)


def make_secret(path: Path, text: str, *, anew: bool = False) -> None:
    """Write a file that its owner alone may read, unless it is there."""
    with suppress(FileExistsError):
        if anew:
            path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)


if __name__ == "__main__":
    prepare_once_it_is_there()
