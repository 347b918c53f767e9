"""Two PostgreSQL servers, the second a copy of the first, as docs/deploying.md makes them."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg

from orchestrator import roles
from orchestrator.embedded import PROGRAMS, Server
from orchestrator.local_database import DATABASE
from tests.contract.pages import page, section
from tests.contract.shown import assert_answers_as_shown, snippets
from tests.faults.harness import migrated
from tests.gunicorn_server import free_port

RECIPE = section(page("docs/deploying.md"), "Two servers")
_AS_SERVER = ("pg_basebackup", "pg_rewind")
# No socket: it would lie in the data folder, which is copied.
_ADDRESSES = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
_SETTINGS = {**_ADDRESSES, "fsync": "off", "max_connections": "100", "wal_log_hints": "on"}


@dataclass
class Node:
    """One server and its port."""

    server: Server
    port: int

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The address of one of its databases."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def replication(self, name: str) -> str:
        """The address by which the other server, of this name, reads from it."""
        return f"host=127.0.0.1 port={self.port} user=replicator application_name={name}"

    def start(self) -> None:
        """Start it, as a primary or as the copy that its folder makes of it."""
        self.server.start({**_SETTINGS, "port": str(self.port)})

    def stop(self) -> None:
        """Stop it, ending its connections."""
        self.server.stop()

    def kill(self) -> None:
        """kill -9 of every process of it."""
        postmaster = psutil.Process(int((self.server.data / "postmaster.pid").read_text().split("\n", 1)[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)

    def asked(self, statement: str, database: str = DATABASE) -> object:
        """The first value that a superuser is answered with."""
        with psycopg.connect(self.url(database), autocommit=True) as beside:
            row = beside.execute(statement).fetchone()
        return row[0] if row else None


@dataclass
class TwoServers:
    """A primary and its copy. `follow` runs a part of the recipe."""

    folder: Path
    first: Node
    second: Node

    @property
    def service(self) -> str:
        """The service's address of both servers, the first one first."""
        hosts = f"127.0.0.1:{self.first.port},127.0.0.1:{self.second.port}"
        return f"postgresql://{roles.SERVICE}@{hosts}/{DATABASE}?target_session_attrs=read-write"

    def follow(self, title: str, number: int = 0) -> None:
        """Run a snippet of a part of the recipe, and compare what it prints."""
        part = RECIPE.split(f"\n### {title}\n")[1].partition("\n### ")[0]
        script, _, printed = snippets(part)[number]
        assert_answers_as_shown(f"```sh\n{script}```\n\n```text\n{printed}```\n", "", **self.environment())

    def environment(self) -> dict[str, str]:
        """What an operator has set who follows the recipe."""
        superuser = f"host=127.0.0.1 port={self.second.port} user=postgres dbname=postgres application_name=first"
        return {
            "PATH": f"{self.folder / 'bin'}:{PROGRAMS}:{os.environ['PATH']}",
            "FIRST_URL": self.first.url(),
            "SECOND_URL": self.second.url(),
            "FIRST_DATA": str(self.first.server.data),
            "SECOND_DATA": str(self.second.server.data),
            "FIRST_REPLICATION": self.first.replication("second"),
            "SECOND_REPLICATION": superuser,
        }


@contextmanager
def two_servers() -> Iterator[TwoServers]:
    """A migrated first server that runs, and a place for the second, for as long as the block runs."""
    with TemporaryDirectory(prefix="orchestrator-two-") as made:
        folder = Path(made)
        # The servers may run as another user, who has to come this far.
        folder.chmod(0o755)
        first, second = (Node(Server.within(folder / name), free_port()) for name in ("first", "second"))
        _wrap(folder / "bin", first.server.user)
        first.start()
        try:
            migrated(first.url)
            if second.server.user is not None:
                shutil.chown(second.server.data.parent, second.server.user)
            yield TwoServers(folder, first, second)
        finally:
            for node in (first, second):
                node.stop()


def _wrap(folder: Path, user: str | None) -> None:
    """Let the programs that write a data folder run as its user, where the tests are root's."""
    folder.mkdir()
    for program in _AS_SERVER if user is not None else ():
        script = folder / program
        script.write_text(f'#!/bin/sh\ncd /\nexec runuser -u {user} -- "{PROGRAMS / program}" "$@"\n')
        script.chmod(0o755)
