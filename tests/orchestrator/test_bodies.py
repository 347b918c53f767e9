"""Bodies and media types as a server hands them on: nothing a stranger sends is a 500, or taken for something else."""

import io
import json
import socket
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from sessions_app.models import Session
from tests.api import token
from tests.gunicorn_server import serving
from tests.orchestrator.served import served

WHOLE = b'{"agent_role": "finance"}'


class Broken(io.BytesIO):
    """A body that ends as a server's does whose chunks are malformed, or whose caller is gone."""

    def read(self, *_size: Any) -> bytes:
        raise ValueError("Invalid chunk size: b'zz'")


@pytest.mark.parametrize(
    "charset", ["rot13", "hex", "zlib", "punycode", "idna", "undefined", "unicode_escape", "utf-16"]
)
@pytest.mark.parametrize("path", ["/status", "/problems", "/admin/login/", "/nowhere"])
def test_no_charset_of_a_stranger_is_read(path: str, charset: str) -> None:
    given: dict[str, Any] = {
        "CONTENT_TYPE": f"a/b; charset={charset}",
        "QUERY_STRING": "next=%5Cud800",
        "HTTP_AUTHORIZATION": "",
    }
    status, _, _ = served("GET", path, **given)
    assert status in (200, 401, 404)


@pytest.mark.django_db(transaction=True)
def test_a_surrogate_in_a_query_is_refused() -> None:
    given: dict[str, Any] = {
        "CONTENT_TYPE": "text/plain; charset=unicode_escape",
        "QUERY_STRING": "agent_role=%5Cud800",
    }
    status, _, content = served("GET", "/sessions", **given)
    # Read as UTF-8 it is six harmless characters, and the role of nobody.
    assert (status, json.loads(content)["total"]) == (200, 0)


@pytest.mark.django_db(transaction=True)
def test_a_body_shorter_than_its_length_is_not_acted_on() -> None:
    for length, expected in ((len(WHOLE), 201), (len(WHOLE) + 1, 400), (200, 400)):
        status, _, content = served("POST", "/sessions", io.BytesIO(WHOLE), CONTENT_LENGTH=str(length))
        assert status == expected, content
    assert Session.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_body_that_cannot_be_read_is_a_problem() -> None:
    for given in ({"CONTENT_LENGTH": "20"}, {"HTTP_TRANSFER_ENCODING": "chunked"}):
        status, headers, content = served("POST", "/sessions", Broken(), **given)
        assert (status, headers["Content-Type"]) == (400, "application/problem+json")
        assert json.loads(content)["type"] == "/problems/bad-request"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_caller_that_stops_sending_is_answered_and_holds_no_thread_for_long() -> None:
    with serving() as base, socket.create_connection(("127.0.0.1", int(base.rsplit(":", 1)[1])), timeout=15) as caller:
        head = f"POST /sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token()}\r\n"
        caller.sendall((head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n").encode())
        started = time.monotonic()
        assert b" 400 " in caller.recv(4096).split(b"\r\n", 1)[0]
        assert time.monotonic() - started < 12


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_message_with_two_lengths_is_one_message_or_none() -> None:
    """Of a proxy and the service that read its end differently, one would take its rest for another request."""
    smuggled = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST /sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token()}\r\n"
    length, chunked = "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"
    each = (length + chunked, chunked + length, length + "Content-Length: 0\r\n", "Transfer-Encoding: xchunked\r\n")
    with serving() as base, ExitStack() as open_sockets:
        port = int(base.rsplit(":", 1)[1])
        callers = [open_sockets.enter_context(socket.create_connection(("127.0.0.1", port), timeout=15)) for _ in each]
        for caller, lengths in zip(callers, each, strict=True):
            caller.sendall(f"{head}{lengths}\r\n0\r\n\r\n{smuggled}".encode())
        for caller, lengths in zip(callers, each, strict=True):
            answer = b"".join(iter(partial(caller.recv, 65536), b""))
            assert answer.split(b" ")[1] in (b"400", b"501"), lengths
            assert answer.count(b"HTTP/1.1 ") == 1, lengths
