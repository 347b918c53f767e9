"""Crash points: the middleware as it is, and a worker that kills itself in the middle of it."""

import os
import signal
from pathlib import Path

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from orchestrator.idempotency.claim import Claim, Key
from orchestrator.idempotency.middleware import HEADER, Idempotency, KeyedCall
from orchestrator.idempotency.replay_cache import replay_cache
from orchestrator.middleware import Handler

POINTS = ("claim", "effect", "record", "commit", "cache")
"""After what."""
CHOSEN = os.environ.get("FAULT_POINT", "").split()
"""At which of them a worker kills itself."""
FOLDER = Path(os.environ.get("FAULT_FOLDER", ""))
"""Where workers say that they are ready, and which keys have had their crash."""


def crashing_key(point: str, name: object) -> str:
    """A key at which the worker dies, once."""
    return f"crash-after-{point}-{name}"


class Crashing(Idempotency):
    """Dies at the points that FAULT_POINT names, once for each key that names the point."""

    def __init__(self, get_response: Handler) -> None:
        def running(request: HttpRequest) -> HttpResponse:
            _reach("claim", request)
            answer = get_response(request)
            _reach("effect", request)
            return answer

        super().__init__(running)
        # This is made before there are workers.
        os.register_at_fork(after_in_child=_tell_that_it_is_there)

    def _keep(self, call: KeyedCall, key: Key, given: HttpResponse, claimed: Claim) -> None:
        # In this order: what is to happen after the commit happens in the order in which it was said.
        transaction.on_commit(lambda: _reach("commit", call))
        super()._keep(call, key, given, claimed)
        transaction.on_commit(lambda: _reach_cached(call))
        _reach("record", call)


def _tell_that_it_is_there() -> None:
    (FOLDER / f"ready-{os.getpid()}").touch()


def _reach_cached(request: HttpRequest) -> None:
    if cache := replay_cache():
        cache._waiting.join()
    _reach("cache", request)


def _reach(point: str, request: HttpRequest) -> None:
    """Here the worker dies, if it is to."""
    key = request.headers.get(HEADER, "")
    if point in CHOSEN and key.startswith(crashing_key(point, "")):
        try:
            os.close(os.open(FOLDER / key, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
