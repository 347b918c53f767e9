"""The service as production runs it, on a database and a Redis that may fail; clients that write down what they see.

Whatever is started here is ended here, by its own id.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from orchestrator import roles
from orchestrator.embedded import Server
from orchestrator.local_database import DATABASE
from tests.api import token
from tests.faults.history import Call, History, Outcome
from tests.faults.proxy import Target
from tests.faults.stored import SERVICE
from tests.gunicorn_server import HERE, environment, free_port

T = TypeVar("T")

_PATIENCE_SECONDS = 40


# The service.


@dataclass
class Service:
    """A gunicorn with its workers."""

    base: str
    process: "subprocess.Popen[bytes]"
    folder: Path
    size: int

    def ready(self) -> list[int]:
        """The workers that serve."""
        try:
            children = [child.pid for child in psutil.Process(self.process.pid).children() if child.is_running()]
        except psutil.NoSuchProcess:
            return []
        return [pid for pid in children if (self.folder / f"ready-{pid}").exists()]

    def wait_for(self, workers: int) -> None:
        """Until so many serve. Raises TimeoutError with what gunicorn said."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(self.ready()) < workers:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.ready())} of {workers} workers:\n{self.said()}")
            time.sleep(0.02)

    def kill_one(self, chance: random.Random) -> None:
        """kill -9 of a worker."""
        workers = self.ready()
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)

    def said(self) -> str:
        """Its log so far."""
        return (self.folder / "log").read_text(errors="replace")

    def logged(self, event: str = "request") -> list[dict[str, Any]]:
        """The lines of the log that tell of this."""
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]


@contextmanager
def serving(database: str | None = None, *, workers: int = 2, **env: str) -> Iterator[Service]:
    """Serve the tests' database, or the one at an address, with the settings of tests.faults."""
    port = free_port()
    known = environment()
    with TemporaryDirectory(prefix="orchestrator-faults-") as folder, (Path(folder) / "log").open("wb") as log:
        address = named(database or known["DATABASE_URL"])
        own = {
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "DATABASE_URL": address,
            "FAULT_FOLDER": folder,
            "PORT": str(port),
            "WEB_CONCURRENCY": str(workers),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "docker/gunicorn.conf.py"],
            cwd=HERE,
            env={**known, **own, **env},
            stdout=log,
            stderr=log,
        )
        service = Service(f"http://127.0.0.1:{port}", process, Path(folder), workers)
        try:
            service.wait_for(workers)
            yield service
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        workers = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        for worker in workers:
            worker.kill()


# The database.


def named(address: str) -> str:
    """The same address, each connection of which says that it is the service's."""
    return _address({**conninfo_to_dict(address), "application_name": SERVICE})


def through(address: str, port: int) -> str:
    """The same address, by way of a proxy on that port."""
    return _address(
        {**conninfo_to_dict(address), "host": "127.0.0.1", "port": port, "sslmode": "disable", "gssencmode": "disable"}
    )


def target(address: str) -> Target:
    """Where the server of an address listens."""
    parts: Mapping[str, Any] = conninfo_to_dict(address)
    host, port = str(parts.get("host") or "127.0.0.1"), int(parts.get("port") or 5432)
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


def _address(parts: Mapping[str, Any]) -> str:
    return "postgresql:///?" + urlencode(parts, quote_via=quote)


@dataclass
class Postgres:
    """A server of its own, with a migrated database, that keeps what it acknowledged."""

    server: Server
    service: str
    """The address that the service uses."""

    def crash(self) -> None:
        """End it at once, without a word to its connections."""
        self.server._run("pg_ctl", "-w", "-m", "immediate", "-D", str(self.server.data), "stop")

    def start(self) -> None:
        """Start it again."""
        self.server.start({"fsync": "off", "max_connections": "100"})

    @contextmanager
    def superuser(self) -> Iterator["psycopg.Connection[Any]"]:
        """A connection for the checker."""
        with psycopg.connect(self.server.address(DATABASE), autocommit=True) as beside:
            yield beside


@contextmanager
def postgres() -> Iterator[Postgres]:
    """One for as long as the block runs. What it loses when it is stopped is what a crash of it loses, and no more."""
    with TemporaryDirectory(prefix="orchestrator-postgres-") as folder:
        # The server may run as another user, who has to come this far.
        Path(folder).chmod(0o755)
        server = Server.within(Path(folder))
        server.start({"fsync": "off", "max_connections": "100"})
        try:
            yield Postgres(server, migrated(server.address))
        finally:
            server.stop()


def migrated(address: Callable[[str, str], str]) -> str:
    """The address that the service uses, of a database with everything in it but rows.

    `address` gives the address of a database for a user.
    """
    with psycopg.connect(address("postgres", "postgres"), autocommit=True) as beside:
        roles.make_roles(beside)
        roles.make_database(beside, DATABASE)
    env = {**environment(), "DATABASE_URL": address(DATABASE, roles.OWNER)}
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=HERE, env=env, check=True)
    return address(DATABASE, roles.SERVICE)


# Clients.


class Client:
    """Somebody who calls over the network and writes down what came of it."""

    def __init__(self, base: str, history: History, bearer: str | None = None, *, tenant: str = "default") -> None:
        self._host = base.removeprefix("http://")
        self._history, self._tenant = history, tenant
        self._authorization = f"Bearer {bearer or token('alice', tenant=tenant, ttl=7200)}"

    def open(self, key: str, at: str = "/sessions") -> Call:
        """Ask for a session, marked with the key."""
        return self.send("POST", at, {"agent_role": "finance", "metadata": {"key": key}}, key=key)

    def move(self, session: str, status: str, key: str) -> Call:
        """Ask for a move, marked with the key."""
        return self.send("PUT", session, {"status": status, "reason": key}, key=key)

    def send(
        self, method: str, path: str, body: Any = None, *, key: str = "", mark: str = "", patience: float = 20
    ) -> Call:
        """One attempt, on a connection of its own. `mark` is what tells its effect where no key is sent."""
        raw = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        connection = HTTPConnection(self._host, timeout=patience)
        known: dict[str, Any] = {"outcome": Outcome.UNKNOWN}
        started = time.time()
        try:
            connection.request(method, path, raw, headers)
            answer = connection.getresponse()
            known = {
                "body": answer.read(),
                "status": answer.status,
                "outcome": Outcome.OK if answer.status < 300 else Outcome.REFUSED,
                "content_type": answer.headers.get("Content-Type", ""),
                "replayed": answer.headers.get("Idempotent-Replayed") == "true",
            }
        except (OSError, HTTPException):
            # Whatever was read of it is no answer.
            known = {"outcome": Outcome.UNKNOWN}
        finally:
            connection.close()
        return self._history.add(
            Call(
                key=key or mark,
                keyed=bool(key),
                op=method,
                object=path,
                tenant=self._tenant,
                sent=sha256(raw).hexdigest(),
                started=started,
                ended=time.time(),
                **known,
            )
        )


def until_final(attempt: Callable[[], Call], seconds: float = 20) -> Call:
    """Try again until the call has its answer. Raises TimeoutError with the last one."""
    deadline = time.monotonic() + seconds
    while not (call := attempt()).is_final:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no final answer: {call}")
        time.sleep(0.02)
    return call


def all_at_once(clients: int, work: Sequence[Callable[[], T]]) -> list[T]:
    """What each piece of work comes to, so many at a time."""
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda piece: piece(), work))


@contextmanager
def again_and_again(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Do something every so often for as long as the block runs, and once more at its end what it raised."""
    ended = threading.Event()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            while not ended.wait(seconds):
                act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if raised:
        raise raised[0]
