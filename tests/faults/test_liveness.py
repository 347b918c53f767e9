"""Probes are answered, and others served, whatever callers do to the threads and connections of the service."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from statistics import median
from urllib.parse import urlsplit

import pytest

from tests.concurrency.racing import bearer
from tests.faults.harness import Service, serving
from tests.faults.pace import p95

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

THREADS = 4
ROUNDS = 50
LEAST_ROUNDS = 5
CROWD = 64
ORDINARY = b"GET /problems HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
"""A call of anybody that is no probe."""
PATIENCE_SECONDS = 20


def connected(service: Service, head: bytes, stack: ExitStack) -> socket.socket:
    """A connection over which this was sent."""
    address = urlsplit(service.base)
    caller = stack.enter_context(socket.create_connection((address.hostname, address.port), PATIENCE_SECONDS))
    caller.sendall(head)
    return caller


def is_answered(caller: socket.socket, seconds: float) -> bool:
    """Whether there is something of an answer within the time."""
    caller.settimeout(seconds)
    try:
        return caller.recv(12) == b"HTTP/1.1 200"
    except TimeoutError:
        return False


@contextmanager
def all_threads_held(service: Service) -> Iterator[Callable[[], bool]]:
    """Every thread waits for a body that does not come. Yields whether ordinary calls of the same time still wait."""
    head = (
        "POST /sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        f"Authorization: Bearer {bearer('finn')}\r\n\r\n"
    )
    with ExitStack() as stack:
        others = [connected(service, ORDINARY, stack)]
        # Callers do not come to both processes evenly.
        while any(is_answered(other, 0.3) for other in others):
            for _ in range(CROWD):
                connected(service, head.encode(), stack)
            others = [connected(service, ORDINARY, stack) for _ in range(8)]
        yield lambda: not any(is_answered(other, 0.01) for other in others)


def probe(service: Service, path: str, method: str = "GET") -> float:
    """How many seconds a probe took; it is answered 200."""
    connection = HTTPConnection(urlsplit(service.base).netloc, timeout=PATIENCE_SECONDS)
    began = time.monotonic()
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, path
        return time.monotonic() - began
    finally:
        connection.close()


def probes(service: Service, path: str, is_held: Callable[[], bool]) -> list[float]:
    """How long each probe took that was answered while others wait.

    The service gives up after a while whoever holds its threads. A slow machine makes fewer probes in that time.
    """
    took: list[float] = []
    while len(took) < ROUNDS:
        seconds = probe(service, path)
        if not is_held():
            break
        took.append(seconds)
    assert len(took) >= LEAST_ROUNDS
    return took


@pytest.mark.parametrize("path", ["/livez", "/status", "/readyz", "/health"])
def test_probes_are_answered_while_callers_hold_all_threads(path: str) -> None:
    with serving(workers=2, WEB_THREADS=str(THREADS)) as service, all_threads_held(service) as is_held:
        took = probes(service, path, is_held)
    print(f"{path}: median {median(took) * 1000:.1f} ms, p95 {p95(took) * 1000:.1f} ms, {max(took) * 1000:.1f} ms")


def test_metrics_are_scraped_while_callers_hold_all_threads() -> None:
    token = "a token of 32 characters or more."
    head = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    with ExitStack() as stack:
        service = stack.enter_context(serving(workers=2, WEB_THREADS=str(THREADS), METRICS_TOKEN=token))
        is_held = stack.enter_context(all_threads_held(service))
        assert is_answered(connected(service, head, stack), PATIENCE_SECONDS)
        assert is_held()


def test_live_probes_do_not_wait_behind_those_of_a_database_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://nobody:x@127.0.0.1:{silent.getsockname()[1]}/nothing?sslmode=disable"
        with serving(workers=1, DATABASE_URL=address) as service, ExitStack() as stack:
            for path in ("/readyz", "/health") * 8:
                head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
                connected(service, head.encode(), stack)
            time.sleep(0.5)
            other = connected(service, ORDINARY, stack)
            probes(service, "/livez", lambda: not is_answered(other, 0.01))


@pytest.mark.parametrize("sent", [b"", b"GET /livez HT", b"POST /sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_requests_that_do_not_come_hold_no_thread(sent: bytes) -> None:
    with serving(workers=1, WEB_THREADS="2") as service, ExitStack() as stack:
        waiting = [connected(service, sent, stack) for _ in range(CROWD)]
        assert is_answered(connected(service, ORDINARY, stack), PATIENCE_SECONDS)
        # Their connections are still there: they were not made way for.
        assert not any(is_over(each) for each in waiting)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(is_over(each) for each in waiting):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def is_over(caller: socket.socket) -> bool:
    """Whether the service has closed the connection."""
    caller.settimeout(0.001)
    try:
        return caller.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_callers_that_keep_their_side_open_do_not_stand_in_the_way_of_others() -> None:
    """gunicorn waits two seconds for each of them, one after the other: 128 seconds for these."""
    with serving(workers=1, WEB_THREADS="2") as service, ExitStack() as stack:
        done = [connected(service, ORDINARY, stack) for _ in range(CROWD)]
        assert all(is_answered(each, PATIENCE_SECONDS) for each in done)
        began = time.monotonic()
        for _ in range(ROUNDS):
            assert is_answered(connected(service, ORDINARY, stack), PATIENCE_SECONDS)
        assert time.monotonic() - began < PATIENCE_SECONDS


def test_a_body_that_comes_drop_by_drop_is_given_up() -> None:
    body = json.dumps({"agent_role": "finance"}).encode()
    head = (
        f"POST /sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) + 1000}\r\nAuthorization: Bearer {bearer('finn')}\r\n\r\n"
    )
    with serving(workers=1, WEB_THREADS="2") as service, ExitStack() as stack:
        caller = connected(service, head.encode() + body, stack)
        began, answer = time.monotonic(), b""
        while not answer and time.monotonic() - began < 60:
            caller.sendall(b" ")
            caller.settimeout(1)
            try:
                answer = caller.recv(12)
            except TimeoutError:
                continue
        print(f"given up after {time.monotonic() - began:.1f} s")
        assert answer == b"HTTP/1.1 400"
