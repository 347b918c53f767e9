"""A PostgreSQL as docker/postgres/roles.sql makes it ready, on a port."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.embedded import PROGRAMS, Server
from tests.gunicorn_server import HERE, free_port

PASSWORDS = {"OWNER_PASSWORD": "owner's word", "SERVICE_PASSWORD": "service's word", "WORKER_PASSWORD": "worker's word"}


@contextmanager
def database(folder: Path, *, ready: bool = True) -> Iterator[int]:
    """One for as long as the block runs; its port. It has the roles and the database, where it is to be ready."""
    port = free_port()
    server = Server.within(folder)
    server.start({"fsync": "off", "listen_addresses": "127.0.0.1", "port": str(port)})
    try:
        if ready:
            make_roles(port)
        yield port
    finally:
        server.stop()


def make_roles(port: int) -> None:
    """Run roles.sql as a superuser."""
    script = HERE / "docker" / "postgres" / "roles.sql"
    command = [
        str(PROGRAMS / "psql"),
        "-X",
        "-q",
        "-v",
        "database=orchestrator",
        "-f",
        str(script),
        superuser_url(port),
    ]
    subprocess.run(command, env={**os.environ, **PASSWORDS}, check=True, capture_output=True)


def superuser_url(port: int) -> str:
    """The address of whoever may do anything."""
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


def owner_url(port: int) -> str:
    """The address that migrates."""
    return f"postgresql://orchestrator_owner:owner's%20word@127.0.0.1:{port}/orchestrator"


def service_url(port: int) -> str:
    """The address that the service uses."""
    return f"postgresql://orchestrator_service:service's%20word@127.0.0.1:{port}/orchestrator"


def worker_url(port: int) -> str:
    """The address that the sweeper uses."""
    return f"postgresql://orchestrator_worker:worker's%20word@127.0.0.1:{port}/orchestrator"
