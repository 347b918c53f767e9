"""The database is gone from the network without a word: nobody waits for it longer than for a slow statement."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from threading import Timer
from typing import Any

import pytest
from django.db import connection

from orchestrator import boundary, env
from orchestrator.patience import SECONDS, bounded
from orchestrator.problems import ServiceUnavailable
from tests.api import Api
from tests.database import superuser_connection
from tests.faults.checker import check
from tests.faults.harness import Client, all_at_once, serving, target, through, until_final
from tests.faults.history import Call, History
from tests.faults.proxy import COMMIT, Proxy, proxying
from tests.gunicorn_server import HERE, environment
from tests.orchestrator.idempotency.keyed import KEY, NEW, aside, assert_first, assert_refused, opened, wait_until_free

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

NOTICED_SECONDS = 10
"""tcp_user_timeout, and keepalives_idle + keepalives_interval * keepalives_count."""
CONNECT_SECONDS = 3
NOISE_SECONDS = 2.5
"""Timers of a kernel come late rather than early, and what else goes on in the machine comes on top."""
QUICK = {"keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "1", "tcp_user_timeout": "1500"}
QUICK_SECONDS = 2.0
WANTED = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 4,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 2,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 3,
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): NOTICED_SECONDS * 1000,
}
"""What a live socket of the service is asked to do, by its kernel's own account."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxying(target(environment()["DATABASE_URL"])) as running:
        yield running


@pytest.fixture
def between(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between this process's connection and the database, whose address has a short patience of its own."""
    place = connection.settings_dict
    connection.close()
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(place, "HOST", "127.0.0.1")
        elsewhere.setitem(place, "PORT", str(proxy.port))
        away = {"sslmode": "disable", "gssencmode": "disable", "connect_timeout": "2"}
        elsewhere.setitem(place, "OPTIONS", {**place["OPTIONS"], **QUICK, **away})
        yield proxy
        connection.close()


def timed(call: Any) -> tuple[Any, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


# One caller, in this process, with a short patience in the address.


def test_who_speaks_to_a_database_that_is_gone_is_told_so(agent: Api, between: Proxy) -> None:
    assert_first(agent.post("/sessions", NEW))
    between.vanish()
    answer, took = timed(lambda: agent.post("/sessions", NEW, idempotency_key=KEY))
    assert_refused(answer, 503, "service-unavailable")
    # Before the connection is used it is checked; then another is tried.
    assert took < QUICK_SECONDS + 2 + NOISE_SECONDS
    between.heal()
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert opened() == 2


def test_who_waits_for_a_database_that_is_gone_is_told_so(between: Proxy) -> None:
    def wait() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(1)")
            cursor.execute("SELECT pg_sleep(9)")

    began = time.monotonic()
    with connection.cursor() as cursor:
        # Whoever only waits while the database is at work is left alone, though the wire is silent for longer.
        cursor.execute("SELECT pg_sleep(3)")
    assert time.monotonic() - began > 3
    vanishing = Timer(1.5, between.vanish)
    vanishing.start()
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable):
        boundary.write(wait)
    assert time.monotonic() - began < 1.5 + QUICK_SECONDS + NOISE_SECONDS
    vanishing.join()


def test_the_service_s_own_patience_is_that_of_its_sockets(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", through(environment()["DATABASE_URL"], proxy.port))
    with closing(connection.copy()) as beside:
        beside.settings_dict.update(env.database("DATABASE_URL"))
        beside.connect()
        with socket.socket(fileno=os.dup(beside.connection.fileno())) as live:
            assert {option: live.getsockopt(*option) for option in WANTED} == WANTED


# A database that is there and says nothing: its kernel acknowledges what it will never answer.


@pytest.mark.parametrize("word", [b"", b"idempotency_reserve", COMMIT], ids=["idle", "at the claim", "at commit"])
def test_who_waits_for_a_database_that_says_nothing_is_told_so(agent: Api, between: Proxy, word: bytes) -> None:
    assert_first(agent.post("/sessions", NEW))
    bounded(connection, 1.0)
    between.black_hole(at=word)
    answer, took = timed(lambda: agent.post("/sessions", NEW, idempotency_key=KEY))
    assert_refused(answer, 503, "service-unavailable")
    # Another connection is tried: for the call where this one was idle, and to learn what became of a COMMIT.
    assert 1.0 < took < 1.0 + 2 + NOISE_SECONDS
    between.heal()
    between.reset()
    connection.close()
    wait_until_free()
    assert_first(agent.post("/sessions", NEW, idempotency_key=KEY))
    assert opened() == 2


@pytest.mark.parametrize(
    ("what", "is_bounded"), [("django", False), ("orchestrator.wsgi", True)], ids=["a command's", "a worker's"]
)
def test_a_worker_s_connections_are_bounded_and_a_command_s_are_not(what: str, is_bounded: bool) -> None:
    look = f"import {what}; from django.db import connection as c; c.connect(); print('wait' in vars(c.connection))"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", look]
    done = subprocess.run(command, cwd=HERE, env=environment(), check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(is_bounded)


# Workers under load, with the patience that they have unless told otherwise.


@pytest.mark.parametrize(
    ("fault", "noticed"), [("vanish", NOTICED_SECONDS), ("black_hole", SECONDS)], ids=["it is gone", "it says nothing"]
)
def test_under_load_it_costs_each_thread_a_while_and_nothing_else(fault: str, noticed: float) -> None:
    history, at = History(), environment()["DATABASE_URL"]
    with proxying(target(at)) as proxy, serving(through(at, proxy.port), workers=2) as service:
        client = Client(service.base, history)
        all_at_once(4, [partial(client.open, f"before-{n}") for n in range(40)])
        busy = aside(lambda: all_at_once(4, [partial(until, client, f"meanwhile-{n}") for n in range(400)]))
        time.sleep(0.3)
        getattr(proxy, fault)()
        time.sleep(noticed + CONNECT_SECONDS + NOISE_SECONDS)
        proxy.heal()
        proxy.reset()
        healed = time.time()
        busy.result(60)
    statuses = Counter((str(call.outcome), call.status) for call in history.calls)
    longest = max(call.ended - call.started for call in history.calls)
    back = min(call.ended for call in history.calls if call.status == 201 and call.ended > healed) - healed
    print(f"{fault}: {dict(statuses)}; nobody waited longer than {longest:.1f} s, {back:.2f} s once it was back")
    with superuser_connection() as beside:
        assert check(history, beside) == []
    assert {status for _, status in statuses} <= {201, 409, 503}
    assert statuses["refused", 503] >= 1
    # After a COMMIT without an answer another connection is tried twice: to go on by, and to ask what became of it.
    assert noticed < longest < noticed + 2 * CONNECT_SECONDS + NOISE_SECONDS
    assert back < 1
    assert opened() == 440


def until(client: Client, key: str) -> Call:
    return until_final(partial(client.open, key), seconds=60)
