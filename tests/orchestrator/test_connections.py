"""Heads of requests as the event loop reads them, and bodies as a thread waits for them."""

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from orchestrator import connections
from orchestrator.connections import MAX_HEAD_BYTES, BoundedUnreader, Connection

HEAD = b"GET /livez HTTP/1.1\r\nHost: here\r\n\r\n"

Ends = tuple[socket.socket, Connection]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The caller's end, and the service's."""
    caller, service = socket.socketpair()
    with caller, service:
        yield caller, Connection(SimpleNamespace(is_ssl=False), service, "", "")


def received(connection: Connection) -> tuple[bool, bool]:
    """Whether it is ready, and whether its head is there."""
    connection.receive()
    return connection.is_ready(), connection.has_head()


def test_a_head_is_there_once_its_last_byte_is(ends: Ends) -> None:
    caller, connection = ends
    for n in range(len(HEAD) - 1):
        caller.sendall(HEAD[n : n + 1])
        assert received(connection) == (False, False)
    caller.sendall(HEAD[-1:])
    assert received(connection) == (True, True)


@pytest.mark.parametrize("sent", [b"", HEAD[:20]])
def test_a_caller_that_closes_before_its_head_is_there_is_gone(ends: Ends, sent: bytes) -> None:
    caller, connection = ends
    caller.sendall(sent)
    caller.close()
    assert received(connection) == (True, False)
    assert connection.is_over


def test_a_head_that_does_not_end_is_read_no_further_than_it_may_be(ends: Ends) -> None:
    caller, connection = ends
    caller.settimeout(1)
    for _ in range(MAX_HEAD_BYTES // 4096 + 1):
        caller.sendall(b"x" * 4096)
        connection.receive()
    assert received(connection) == (True, False)
    assert not connection.is_over


@pytest.mark.parametrize(
    ("head", "path"),
    [
        (HEAD, b"/livez"),
        (HEAD.replace(b"GET", b"HEAD"), b"/livez"),
        (HEAD.replace(b"/livez", b"/health?x=1"), b"/health"),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), b"/livez"),
        (HEAD.replace(b"GET", b"POST"), None),
        (HEAD.replace(b"/livez", b"/livez/../tasks"), None),
        (HEAD.replace(b"Host: here", b"Content-Length: 5"), None),
        (HEAD.replace(b"Host: here", b"content-length : 5"), None),
        (HEAD.replace(b"Host: here", b"TRANSFER-ENCODING: chunked"), None),
        (HEAD.replace(b"Host: here", b"Expect: 100-continue"), None),
        (HEAD + b"x", None),
        (HEAD + b"GET /tasks HTTP/1.1\r\n\r\n", None),
        (b"\r\n" + HEAD, None),
    ],
)
def test_a_probe_is_a_get_or_head_with_nothing_behind_it(ends: Ends, head: bytes, path: bytes | None) -> None:
    caller, connection = ends
    caller.sendall(head)
    assert received(connection) == (True, True)
    assert connection.plain_path() == path


def test_bytes_of_a_caller_whose_answer_is_sent_are_thrown_away_up_to_a_bound(ends: Ends) -> None:
    caller, connection = ends
    assert connection.discard()
    caller.sendall(b"x" * 1000)
    assert connection.discard()
    for _ in range(MAX_HEAD_BYTES // 4096):
        caller.sendall(b"x" * 4096)
        more = connection.discard()
    assert not more


def test_discarding_ends_with_the_connection(ends: Ends) -> None:
    caller, connection = ends
    caller.close()
    assert not connection.discard()


@pytest.mark.parametrize("name", ["IDLE_SECONDS", "BODY_SECONDS"])
def test_a_body_is_waited_for_within_a_time(ends: Ends, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, connection = ends
    unreader = BoundedUnreader(connection.sock)
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05 if name == "IDLE_SECONDS" else 60)
    unreader.within(0.05 if name == "BODY_SECONDS" else 60)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        unreader.read()
    assert time.monotonic() - began < 5


def test_a_body_that_keeps_coming_is_given_up_in_the_end(ends: Ends) -> None:
    caller, connection = ends
    caller.sendall(b"x" * 1000)
    unreader = BoundedUnreader(connection.sock)
    unreader.within(0.05)
    assert unreader.read(1) == b"x"
    time.sleep(0.1)
    with pytest.raises(TimeoutError):
        unreader.chunk()
