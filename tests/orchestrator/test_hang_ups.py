"""Whether the caller of a request is still there."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from orchestrator.hang_ups import has_hung_up

Ends = tuple[socket.socket, dict[str, socket.socket]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The caller's end of a TCP connection, and the WSGI environment of the service's end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname())
        service, _ = listener.accept()
    with caller, service:
        yield caller, {"gunicorn.socket": service}


def noticed(environ: dict[str, socket.socket]) -> bool:
    """Whether the end is noticed once it has arrived."""
    deadline = time.monotonic() + 5
    while not has_hung_up(environ) and time.monotonic() < deadline:
        time.sleep(0.001)
    return has_hung_up(environ)


def test_a_caller_that_waits_for_its_answer_has_not_hung_up(ends: Ends) -> None:
    assert not has_hung_up(ends[1])


def test_a_caller_that_sends_its_next_request_already_has_not_hung_up(ends: Ends) -> None:
    caller, environ = ends
    caller.sendall(b"GET /status HTTP/1.1\r\n\r\n")
    environ["gunicorn.socket"].recv(1, socket.MSG_PEEK)
    assert not has_hung_up(environ)
    assert environ["gunicorn.socket"].recv(3) == b"GET"


@pytest.mark.parametrize("unread", [b"", b"GET /status HTTP/1.1\r\n\r\n"], ids=["nothing unread", "unread bytes"])
def test_a_closed_connection_is_noticed(ends: Ends, unread: bytes) -> None:
    caller, environ = ends
    caller.sendall(unread)
    caller.close()
    assert noticed(environ)


def test_a_reset_connection_is_noticed(ends: Ends) -> None:
    caller, environ = ends
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()
    assert noticed(environ)


def test_a_closed_sending_side_counts_as_the_end(ends: Ends) -> None:
    caller, environ = ends
    caller.shutdown(socket.SHUT_WR)
    assert noticed(environ)


def test_a_socket_that_the_server_has_closed_counts_as_the_end(ends: Ends) -> None:
    ends[1]["gunicorn.socket"].close()
    assert has_hung_up(ends[1])


def test_without_a_socket_nobody_has_hung_up() -> None:
    assert not has_hung_up({})
