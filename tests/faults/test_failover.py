"""The primary is killed under load and its copy is promoted, as docs/deploying.md says; then the primary returns."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import psycopg
import pytest

from orchestrator.local_database import DATABASE
from tests.faults.checker import check
from tests.faults.harness import Client, Service, all_at_once, serving, until_final
from tests.faults.history import History, Outcome
from tests.faults.two_servers import Node, TwoServers, two_servers
from tests.gunicorn_server import HERE, environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

CLIENTS = 4
LOAD_SECONDS = 2.0
FIRST_WRITE_SECONDS = 15.0
"""5 seconds on a machine of its own."""
PATIENCE_SECONDS = 60.0
EVENTS = "SELECT count(*) FROM audit_events"
STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
CONFIRMING = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


def wait_until(node: Node, statement: str, value: object) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while node.asked(statement) != value:
        assert time.monotonic() < deadline, statement
        time.sleep(0.05)


def warned(address: str) -> bool:
    """Whether `manage.py check --deploy` warns of writes that a promotion would lose."""
    command = [sys.executable, "manage.py", "check", "--deploy"]
    env = {**environment(), "DATABASE_URL": address}
    done = subprocess.run(command, cwd=HERE, env=env, check=False, capture_output=True, text=True)
    return "orchestrator.W004" in done.stdout + done.stderr


def copied(servers: TwoServers) -> None:
    """Make the copy, and let each COMMIT wait for it."""
    servers.follow("Make the copy")
    servers.second.start()
    wait_until(servers.first, STREAMING, 1)
    assert warned(servers.service)
    servers.follow("Wait for the copy", 0)
    wait_until(servers.first, CONFIRMING, 1)
    servers.follow("Wait for the copy", 1)
    assert not warned(servers.service)


def fail_over_under_load(servers: TwoServers, service: Service, history: History) -> tuple[float, float]:
    """Kill the first server while clients write, and promote the second. Returns both times."""
    ends = [time.monotonic() + 10 * PATIENCE_SECONDS]

    def work(worker: int) -> None:
        client, n = Client(service.base, history), 0
        while time.monotonic() < ends[0]:
            n += 1
            until_final(partial(client.open, f"key-{worker}-{n}"), seconds=PATIENCE_SECONDS)

    def fail_over() -> tuple[float, float]:
        time.sleep(LOAD_SECONDS)
        servers.first.kill()
        # Not before: a call that begins while the processes are found may still reach the first server.
        killed = time.time()
        servers.follow("Fail over")
        promoted = time.time()
        ends[0] = time.monotonic() + LOAD_SECONDS
        return killed, promoted

    pieces: list[Callable[[], tuple[float, float] | None]] = [fail_over, *(partial(work, n) for n in range(CLIENTS))]
    return next(at for at in all_at_once(len(pieces), pieces) if at is not None)


def assert_refused(service: Service, history: History) -> None:
    """Reads and writes are refused, since the database is a former primary."""
    client = Client(service.base, history)
    for call in (client.open("refused"), client.send("GET", "/sessions"), client.send("GET", "/readyz")):
        assert (call.status, b"/problems/database-stale" in call.body) == (503, True), call


def assert_nothing_lost(node: Node, history: History) -> None:
    """Each acknowledged write is in the database of the second server, once, with its events."""
    with psycopg.connect(node.url(DATABASE), autocommit=True) as beside:
        assert check(history, beside) == []


def rebuild(servers: TwoServers) -> None:
    """Make the former primary the copy of the second server."""
    servers.first.stop()
    servers.follow("Rebuild the former primary")
    servers.first.start()
    wait_until(servers.second, STREAMING, 1)
    assert servers.first.asked("SELECT pg_is_in_recovery()")
    assert servers.first.asked(EVENTS) == servers.second.asked(EVENTS)


def test_a_failover_loses_no_acknowledged_write_and_the_former_primary_is_not_written_again() -> None:
    history = History()
    with two_servers() as servers:
        copied(servers)
        term = str(servers.folder / "term.json")
        with serving(servers.service, DATABASE_TERM_FILE=term) as service:
            killed, promoted = fail_over_under_load(servers, service, history)
            done = [call for call in history.calls if call.outcome is Outcome.OK]
            again = min(call.ended for call in done if call.started > killed)
            statuses = Counter(call.status for call in history.calls)
            print(
                f"failover: {len(done)} writes, the first of the second server {again - promoted:+.2f} s after its"
                f" promotion and {again - killed:.2f} s after the crash; {dict(statuses)}"
            )
            # The former primary returns, since nobody stopped it for good, and its address is the first one.
            servers.first.start()
            assert servers.first.asked("SELECT NOT pg_is_in_recovery()")
            events = servers.first.asked(EVENTS)
            for pid in service.ready():
                os.kill(pid, signal.SIGKILL)
            client = Client(service.base, history)
            for n in range(20):
                assert until_final(partial(client.open, f"returned-{n}"), seconds=PATIENCE_SECONDS).status == 201
        # A new service knows what the one before it has seen.
        with serving(servers.service, DATABASE_TERM_FILE=term) as service:
            client = Client(service.base, history)
            assert client.open("restarted").status == 201
            servers.second.stop()
            assert_refused(service, history)
            servers.second.start()
            assert until_final(partial(client.open, "back"), seconds=PATIENCE_SECONDS).status == 201
        assert servers.first.asked(EVENTS) == events
        assert_nothing_lost(servers.second, history)
        rebuild(servers)
    assert again - promoted <= FIRST_WRITE_SECONDS
    assert set(statuses) <= {201, 409, 503}
