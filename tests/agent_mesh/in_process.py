"""The client before the service itself, in this process: real calls on a real database, without a socket."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import current_thread, main_thread
from typing import Any

import httpx
from django.db import connections

from agent_mesh.client import Client
from agent_mesh.retrying import Retry
from orchestrator.wsgi import application
from tests.api import token

BASE = "http://localhost"
Meddle = Callable[[httpx.Request], Exception | httpx.Response | None]
"""What becomes of a request instead of being served; None where it is."""


@dataclass
class Wire(httpx.BaseTransport):
    """The way to the service, on which attempts may get lost: each meddler in turn has one request."""

    before: Sequence[Meddle] = ()
    after: Sequence[Meddle] = ()
    """Those that come once the service is done, so that only its answer is lost."""

    sent: list[httpx.Request] = field(default_factory=list)
    served: httpx.BaseTransport = field(default_factory=lambda: httpx.WSGITransport(application))

    def _serve(self, request: httpx.Request) -> httpx.Response:
        """A thread of the worker's leaves no connection to the database behind."""
        try:
            return self.served.handle_request(request)
        finally:
            if current_thread() is not main_thread():
                connections.close_all()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One attempt."""
        number = len(self.sent)
        self.sent.append(request)
        for meddlers, serve in ((self.before, False), (self.after, True)):
            if number < len(meddlers):
                if serve:
                    self._serve(request).close()
                met = meddlers[number](request)
                if isinstance(met, Exception):
                    raise met
                if met is not None:
                    return met
        return self._serve(request)

    def headers(self, name: str) -> list[str | None]:
        """What each attempt had of a header."""
        return [request.headers.get(name) for request in self.sent]


@dataclass
class Waits:
    """Instead of sleeping."""

    seconds: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def client(bearer: str | None = None, wire: httpx.BaseTransport | None = None, **retry: Any) -> Client:
    """Of alice, an agent of the role finance, unless a token is given. It sleeps not."""
    options = {"sleep": Waits(), **retry}
    return Client(BASE, bearer if bearer is not None else token(), transport=wire or Wire(), retry=Retry(**options))


def lost(_request: httpx.Request) -> Exception:
    """The connection broke off."""
    return httpx.ReadError("connection reset by peer")


def refused(_request: httpx.Request) -> Exception:
    """Nobody listens."""
    return httpx.ConnectError("connection refused")


def answers(status: int, body: Any = None, **headers: str) -> Meddle:
    """Something on the way answers instead."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request: httpx.Response(status, json=body, headers=named)


def problem(status: int, slug: str, **headers: str) -> Meddle:
    """The service refuses like this."""
    return answers(status, {"type": f"/problems/{slug}", "title": "So", "status": status, "detail": "So."}, **headers)
