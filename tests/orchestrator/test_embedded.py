"""A PostgreSQL of our own: it starts, stops, and starts again whatever was done to it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from orchestrator import embedded
from orchestrator.embedded import Server, ServerError

FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB"}


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder, gone afterwards. Not pytest's own: where we are root, the server's user must get into it."""
    made = Path(tempfile.mkdtemp(prefix="orchestrator-embedded-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def stopped_afterwards(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.stop()
        if server.sockets != server.data:
            shutil.rmtree(server.sockets, ignore_errors=True)


@pytest.fixture(scope="module")
def made_once() -> Iterator[Server]:
    """One server for this file: making the first folder is what takes time."""
    with folder() as place, stopped_afterwards(Server.within(place / "var")) as server:
        yield server


@pytest.fixture
def server(made_once: Server) -> Server:
    """A server that runs."""
    made_once.start(FAST)
    return made_once


def asked(server: Server, query: str) -> Any:
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def postmaster(server: Server) -> int:
    return int((server.data / "postmaster.pid").read_text().split("\n", 1)[0])


def kill(server: Server) -> None:
    """kill -9, and wait until it is gone or a corpse that nobody has buried yet."""
    process = psutil.Process(postmaster(server))
    process.kill()
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        pass


def test_starts_answers_and_stops(server: Server) -> None:
    assert server.is_running()
    assert asked(server, "SELECT version()").startswith("PostgreSQL 18")
    server.stop()
    assert not server.is_running()
    with pytest.raises(psycopg.OperationalError):
        asked(server, "SELECT 1")


def test_stopping_one_that_does_not_run_does_nothing(server: Server) -> None:
    server.stop()
    server.stop()
    assert not server.is_running()


def test_starting_one_that_runs_does_nothing(server: Server) -> None:
    before = postmaster(server)
    server.start(FAST)
    assert postmaster(server) == before


def test_what_was_written_is_there_after_a_restart(server: Server) -> None:
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 7 AS n")
    server.stop()
    server.start(FAST)
    assert asked(server, "SELECT n FROM kept") == 7


def test_listens_on_no_port_and_lets_nobody_else_in(server: Server) -> None:
    assert asked(server, "SHOW listen_addresses") == ""
    assert server.data.stat().st_mode & 0o077 == 0
    assert server.sockets.stat().st_mode & 0o077 == 0
    assert psutil.Process(postmaster(server)).net_connections(kind="inet") == []


def test_takes_the_settings_it_is_given(server: Server) -> None:
    assert asked(server, "SHOW fsync") == "off"


def test_starts_after_it_was_killed(server: Server) -> None:
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 8 AS n; CHECKPOINT")
        before = postmaster(server)
        kill(server)
        assert not server.is_running()
        # The connection is still open: its process holds the server's memory until it sees that the server is gone.
        server.start(FAST)
    assert postmaster(server) != before
    assert asked(server, "SELECT n FROM kept") == 8


def test_starts_after_it_was_killed_while_a_statement_ran(server: Server) -> None:
    with psycopg.connect(server.address("postgres"), autocommit=True) as connection:

        def sleep() -> None:
            with suppress(psycopg.OperationalError):
                connection.execute("SELECT pg_sleep(600)")

        running = threading.Thread(target=sleep)
        running.start()
        while not asked(server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
            pass
        kill(server)
        server.start(FAST)
        running.join(10)
    assert asked(server, "SELECT 1") == 1


@pytest.fixture
def bystander() -> Iterator[int]:
    """A live process that is no server."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize(
    "lock",
    [
        "{bystander}\n{data}\n1\n5432\n{data}\n\n  1 1\nready\n",
        "{me}\n{data}\n",
        "4194303\n",
        "",
        "no number\n",
        "-1\n",
    ],
    ids=["another process", "ourselves", "nobody", "nothing", "no number", "a negative number"],
)
def test_a_stale_lock_file_hinders_nothing(server: Server, bystander: int, lock: str) -> None:
    server.stop()
    (server.data / "postmaster.pid").write_text(lock.format(bystander=bystander, me=os.getpid(), data=server.data))
    assert not server.is_running()
    server.stop()
    server.start(FAST)
    assert asked(server, "SELECT 1") == 1


def test_a_first_start_that_was_cut_short_hinders_nothing_and_two_run_at_once(server: Server) -> None:
    with folder() as place:
        unfinished = place / "postgres.new"
        (unfinished / "base").mkdir(parents=True)
        (unfinished / "PG_VERSION").write_text("18\n")
        with stopped_afterwards(Server.within(place)) as other:
            assert not other.is_running()
            other.start(FAST)
            assert not unfinished.exists()
            assert asked(other, "SHOW data_directory") == str(other.data)
            assert asked(server, "SHOW data_directory") == str(server.data)
            # The lock file of one may name the other: process ids come round again.
            server.stop()
            shutil.copy(other.data / "postmaster.pid", server.data / "postmaster.pid")
            assert not server.is_running()
            server.stop()
            server.start(FAST)
            assert asked(other, "SELECT 1") == asked(server, "SELECT 1") == 1
            other.stop()
            assert server.is_running()


@pytest.mark.parametrize("name", ["é" * 40, "My Projects", "it's 100 % mine, & more"])
def test_a_folder_may_have_any_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PATIENCE_SECONDS", 0)
    with folder() as place, stopped_afterwards(Server.within(place / name)) as server:
        assert len(str(server.sockets / ".s.PGSQL.5432").encode()) <= 107
        server.start(FAST)
        assert server.is_running()
        assert asked(server, "SHOW data_directory") == str(server.data)
        assert server.sockets.stat().st_mode & 0o077 == 0
        server.stop()
        assert not server.is_running()


def test_says_what_postgresql_said_where_it_cannot_start(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.stop()
    monkeypatch.setattr(embedded, "_PATIENCE_SECONDS", 0)
    with pytest.raises(ServerError, match="shared_buffers"):
        server.start({"shared_buffers": "nonsense"})
    assert not server.is_running()
