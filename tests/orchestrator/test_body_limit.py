"""How large a body may be, measured before anything reads it."""

import io
import json
from typing import Any

import pytest
from django.conf import settings

from tests.api import Api
from tests.orchestrator.served import served

MIB = 1024 * 1024


def padded(size: int) -> bytes:
    """A valid body of POST /sessions that has this many bytes."""
    return b'{"agent_role": "finance"}'.ljust(size)


def assert_too_large(answer: Any) -> None:
    assert answer.status_code == 413
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == "/problems/body-too-large"
    assert document["limit"] == MIB
    assert document["request_id"] == answer.headers["X-Request-Id"]


class Unread(io.RawIOBase):
    """A body that must not be read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("The body was read.")


class Chunks(io.RawIOBase):
    """A body that comes without a length, as gunicorn hands it on; counts what is taken of it."""

    def __init__(self, size: int) -> None:
        self.left, self.taken = padded(size), 0

    def read(self, size: int = -1) -> bytes:
        part = self.left if size < 0 else self.left[:size]
        self.left, self.taken = self.left[len(part) :], self.taken + len(part)
        return part


def posted(body: io.RawIOBase, **environ: Any) -> tuple[int, Any]:
    """POST /sessions: status and document."""
    status, _, content = served("POST", "/sessions", body, **environ)
    return status, json.loads(content)


def test_the_limit_is_a_mebibyte() -> None:
    assert settings.MAX_BODY_BYTES == MIB


@pytest.mark.django_db(transaction=True)
def test_a_body_of_a_mebibyte_is_judged(agent: Api) -> None:
    assert agent.send_raw("POST", "/sessions", padded(MIB)).status_code == 201


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB])
def test_refuses_one_byte_more(agent: Api, size: int) -> None:
    assert_too_large(agent.send_raw("POST", "/sessions", padded(size)))


@pytest.mark.parametrize("path", ["/sessions", "/sessions/1", "/nowhere", "/", "/status", "/problems/x"])
def test_refuses_it_on_every_path_and_without_a_token(path: str) -> None:
    assert_too_large(Api(None).send_raw("POST", path, padded(MIB + 1)))


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_refuses_it_with_every_method(agent: Api, method: str) -> None:
    assert_too_large(agent.send_raw(method, "/sessions", padded(MIB + 1)))


@pytest.mark.parametrize("length", [str(MIB + 1), "9" * 19, "9" * 5000, "0" * 30 + str(MIB + 1)])
def test_a_length_that_is_too_large_is_refused_unread(length: str) -> None:
    status, document = posted(Unread(), CONTENT_LENGTH=length)
    assert (status, document["type"]) == (413, "/problems/body-too-large")


@pytest.mark.django_db(transaction=True)
def test_a_chunked_body_is_judged_like_any_other() -> None:
    chunks: dict[str, Any] = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    status, document = posted(Chunks(MIB), **chunks)
    assert (status, document["agent_role"]) == (201, "finance")
    too_large = Chunks(2 * MIB)
    status, document = posted(too_large, **chunks)
    assert (status, document["type"]) == (413, "/problems/body-too-large")
    assert too_large.taken == MIB + 1


@pytest.mark.django_db(transaction=True)
def test_a_document_inside_a_body_has_a_limit_of_its_own(agent: Api) -> None:
    filled = 64 * 1024 - len('{"a":""}')
    assert agent.post("/sessions", {"agent_role": "finance", "metadata": {"a": "x" * filled}}).status_code == 201
    answer = agent.post("/sessions", {"agent_role": "finance", "metadata": {"a": "x" * (filled + 1)}})
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-request")
