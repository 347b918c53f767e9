"""Who calls a tool, and the key under which what they ask for is done."""

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mcp.server.mcpserver import Context

from agent_mesh.answers import insist_on_token
from agent_mesh.client import Client
from agent_mesh.tokens import TokenSource

_REMEMBERED_SECONDS = 60.0
_MOST_REMEMBERED = 10_000

Asked = Context[Any, Any]


class Callers(Protocol):
    """Knows for each call of a tool who makes it."""

    def client(self, ctx: Asked) -> Client:
        """The service as that caller. Raises MeshError."""

    def key(self, ctx: Asked, tool: str, arguments: Mapping[str, Any]) -> str:
        """An Idempotency-Key that is the same where the same request arrives again, and no other's."""


class OneCaller:
    """Over stdio: whoever started this process."""

    def __init__(self, client: Client, tokens: TokenSource | None) -> None:
        self._client, self._tokens = client, tokens
        self._process = secrets.token_hex(16)

    def client(self, ctx: Asked) -> Client:
        """Always the same. Raises NoToken where none was given."""
        insist_on_token(self._tokens)
        return self._client

    def key(self, ctx: Asked, tool: str, arguments: Mapping[str, Any]) -> str:
        """A JSON-RPC id names one request for as long as the process lives."""
        return derived_key(self._process, ctx.request_id, tool, arguments)


class RecentRequests:
    """Requests without a session: caller, id, tool and arguments are the same within a minute, so it was sent again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def key(self, caller: str, request_id: object, tool: str, arguments: Mapping[str, Any]) -> str:
        """The key of the first such request, or a new one."""
        request = derived_key(caller, request_id, tool, arguments)
        now = self._clock()
        with self._lock:
            while self._known:
                first_at, _ = next(iter(self._known.values()))
                if first_at + _REMEMBERED_SECONDS > now and len(self._known) < _MOST_REMEMBERED:
                    break
                self._known.popitem(last=False)
            _, key = self._known.setdefault(request, (now, secrets.token_hex(16)))
        return key


def derived_key(scope: str, request_id: object, tool: str, arguments: Mapping[str, Any]) -> str:
    """SHA-256 in hex over who, which request, and what: framed as JSON, so that no two run into each other."""
    framed = json.dumps([scope, str(request_id), tool, arguments], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(framed.encode()).hexdigest()
