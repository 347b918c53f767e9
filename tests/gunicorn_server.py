"""The service as production serves it: gunicorn, its own workers, a port. On the test database, as the service."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO
from uuid import uuid4

from orchestrator import roles
from tests.database import address

HERE = Path(__file__).resolve().parent.parent
_PATIENCE_SECONDS = 20


@contextmanager
def serving(**env: str) -> Iterator[str]:
    """
    Serve for as long as the block runs, and yield the address: `http://127.0.0.1:<port>`, without a slash.

    `env` adds to the environment or replaces what is in it. It has answered `/livez`, and not `/readyz`, when the block
    begins, so that DATABASE_URL may name a database that is away.
    """
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--config", "docker/gunicorn.conf.py"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=HERE, env={**environment(), "PORT": str(port), **env}, stdout=log, stderr=log
        )
        try:
            _wait_until_it_answers(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(process)


def environment() -> Mapping[str, str]:
    """What the service, and its manage.py, need to find the test database and the tests' signing key.

    Each has seen no term of a database before: a test of restores begins an era, and others stay in theirs.
    """
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "orchestrator.settings",
        "DATABASE_URL": roles.acting_as(address(), roles.SERVICE),
        "WORKER_DATABASE_URL": roles.acting_as(address(), roles.WORKER),
        "DATABASE_TERM_FILE": str(Path(os.environ["ORCHESTRATOR_VAR"]) / f"term-{uuid4()}.json"),
        "SECRET_KEY": "only for tests",
        "LOG_LEVEL": "warning",
        # Load tests send more calls than one subject may.
        "RATE_LIMIT": "off",
    }


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, log: IO[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise RuntimeError(f"gunicorn does not answer on port {port}:\n{log.read()}")
        time.sleep(0.02)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Its workers end with it, and when it is killed as soon as they see that it is gone."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
