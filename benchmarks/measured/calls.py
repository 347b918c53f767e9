"""Calling the service as gunicorn does, but within this process; and a plain Django view to compare with."""

import io
import json
from collections.abc import Iterable
from typing import Any
from wsgiref.util import setup_testing_defaults

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.test import override_settings
from django.urls import path

from orchestrator.wsgi import application
from tests.api import token

SHOWN = {
    "session_id": "0197a3f0-0000-7000-8000-000000000000",
    "agent_role": "finance",
    "task_id": None,
    "status": "pending",
    "state": "pending",
    "metadata": {"quarter": "Q4"},
    "created_at": "2026-01-31T09:00:00.123456Z",
    "updated_at": "2026-01-31T09:00:00.123456Z",
    "expires_at": "2026-02-07T09:00:00.123456Z",
    "created_by": "local|alice",
    "version": 1,
    "reason": None,
    "allowed_transitions": ["active", "expired"],
}


def plain_view(_request: HttpRequest) -> JsonResponse:
    """As little as an answer of the same length can take."""
    return JsonResponse(SHOWN)


urlpatterns = [path("plain", plain_view)]


class Caller:
    """Somebody with a token. Insists on the status that is expected, so that no refusal is measured."""

    def __init__(self, subject: str = "alice", roles: str = "agent", agent_roles: str = "finance") -> None:
        self.authorization = f"Bearer {token(subject, roles, agent_roles)}"

    def call(self, method: str, at: str, body: Any = None, *, status: int = 200, key: str = "") -> Any:
        """The JSON of the answer; with an Idempotency-Key where one is named."""
        environ = _environ(method, at, b"" if body is None else json.dumps(body).encode())
        environ["HTTP_AUTHORIZATION"] = self.authorization
        if key:
            environ["HTTP_IDEMPOTENCY_KEY"] = key
        return json.loads(_answer(application, environ, status))


class PlainDjango(WSGIHandler):
    """The plain view, without a middleware."""

    def __init__(self) -> None:
        with override_settings(MIDDLEWARE=[]):
            super().__init__()

    def resolve_request(self, request: Any) -> Any:
        """By the paths of this module."""
        request.urlconf = __name__
        return super().resolve_request(request)

    def call(self) -> Any:
        """The JSON of the answer."""
        return json.loads(_answer(self, _environ("GET", "/plain", b""), 200))


def _environ(method: str, at: str, body: bytes) -> dict[str, Any]:
    folder, _, query = at.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": folder,
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json" if body else "",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "wsgi.input": io.BytesIO(body),
    }
    setup_testing_defaults(environ)
    return environ


def _answer(served: Any, environ: dict[str, Any], expected: int) -> bytes:
    statuses: list[str] = []
    chunks: Iterable[bytes] = served(environ, lambda status, *_: statuses.append(status))
    body = b"".join(chunks)
    # What a server does at the end, and Django waits for, to let its connection go or keep it.
    close = getattr(chunks, "close", None)
    if close:
        close()
    if not statuses[-1].startswith(f"{expected} "):
        raise RuntimeError(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}: {statuses} {body!r}")
    return body
