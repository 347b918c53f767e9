"""Callers who hang up before they are answered: they take no task, and hold no place of those who wait."""

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from sessions_app.models import Attempt
from tests.concurrency import tasks
from tests.concurrency.racing import bearer
from tests.faults.checker import CLAIM
from tests.faults.harness import Service, serving
from tests.faults.pace import requests

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

CALLERS = 64
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes of the end of a connection a reset (RST)."""


def sent(service: Service, method: str, path: str, by: str, body: object = None) -> socket.socket:
    """A connection over which a request went, and no answer was read."""
    address = urlsplit(service.base)
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {bearer(by)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    caller = socket.create_connection((address.hostname, address.port))
    caller.sendall(head.encode() + content)
    return caller


def hang_up(callers: list[socket.socket], how: str) -> None:
    for caller in callers:
        if how == "reset":
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        caller.close()


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """Its workers stand still: what is sent to them waits until the block ends."""
    workers = service.ready()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def wait_for_answers(service: Service, path: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(requests(service, path)) < count:
        assert time.monotonic() < deadline, len(requests(service, path))
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_claims_whose_callers_hung_up_before_their_turn_take_no_task(how: str) -> None:
    for _ in range(CALLERS):
        tasks.routed()
    with serving(workers=2, LOG_LEVEL="info") as service:
        with frozen(service):
            hang_up([sent(service, "POST", CLAIM, "finn", {}) for _ in range(CALLERS)], how)
        # A connection that was reset before it was accepted need not be served at all.
        wait_for_answers(service, CLAIM, CALLERS if how == "close" else 0)
        last = sent(service, "POST", CLAIM, "bob", {})
        assert last.recv(12) == b"HTTP/1.1 200"
        last.close()
    assert [attempt.holder_subject for attempt in Attempt.objects.all()] == ["bob"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_waiting_claims_whose_callers_hung_up_take_no_task_and_leave_their_places(how: str) -> None:
    with serving(workers=2, LOG_LEVEL="info", WEB_THREADS="64") as service:
        callers = [sent(service, "POST", CLAIM, f"finn-{n}", {"wait_seconds": 30}) for n in range(CALLERS)]
        time.sleep(1)
        hang_up(callers, how)
        for _ in range(CALLERS):
            tasks.routed()
        wait_for_answers(service, CLAIM, CALLERS)
        assert max(line["milliseconds"] for line in requests(service, CLAIM)) < 15_000
    assert Attempt.objects.count() == 0


def test_waiting_reads_whose_callers_hung_up_end_early() -> None:
    task = tasks.routed()
    with serving(workers=1, LOG_LEVEL="info", WEB_THREADS="8") as service:
        path = f"/tasks/{task.pk}"
        callers = [sent(service, "GET", f"{path}?wait=30&version=1", f"finn-{n}") for n in range(4)]
        time.sleep(1)
        assert requests(service, path) == []
        hang_up(callers, "close")
        wait_for_answers(service, path, 4)
        assert max(line["milliseconds"] for line in requests(service, path)) < 15_000
