"""The two ways in that check bearer tokens: the service, and the MCP server over HTTP. Both trust one issuer."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal
from django.conf import settings
from django.test import override_settings

from agent_mesh.environment import Environment
from agent_mesh.over_http import application
from tests.api import Api
from tests.orchestrator.key_server import KeyServer, serving, trusting

_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@dataclass
class Door:
    """One way in. `knock` returns the status and the challenge that a token gets; `opened` is that of a good token."""

    knock: Callable[[str | None], tuple[int, str]]
    opened: int


def _service(token: str | None) -> tuple[int, str]:
    """Ask the service for a path that does not exist: a caller who is let in is answered 404."""
    answer = Api(token).get("/nowhere")
    return answer.status_code, answer.headers.get("WWW-Authenticate", "")


@contextmanager
def _mcp_server(issuer: KeyServer) -> Iterator[Callable[[str | None], tuple[int, str]]]:
    said = {
        "CONTROLLER_URL": "http://127.0.0.1:9",
        "MESH_PUBLIC_URL": "http://mesh.example/mcp",
        "MESH_ISSUER_URL": issuer.address,
        "MESH_AUDIENCE": settings.LOCAL_AUDIENCE,
        "MESH_FORWARD": "pass",
    }

    app: Any = application(Environment(said))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mesh.example")

    async def knock(headers: dict[bytes, bytes]) -> httpx.Response:
        return await client.post("/mcp", json=_INITIALIZE, headers=headers)

    def knocked(token: str | None) -> tuple[int, str]:
        headers = {b"Accept": b"application/json, text/event-stream"}
        if token is not None:
            headers[b"Authorization"] = f"Bearer {token}".encode()
        answer = portal.call(knock, headers)
        return answer.status_code, answer.headers.get("WWW-Authenticate", "")

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        yield knocked


@contextmanager
def both() -> Iterator[tuple[KeyServer, dict[str, Door]]]:
    """Both ways in, and the issuer whose tokens they take: it is LOCAL_ISSUER for as long as the block runs."""
    with ExitStack() as stack:
        issuer = stack.enter_context(serving())
        entry = issuer.issuer("*", audience=settings.LOCAL_AUDIENCE, jwks_url="")
        stack.enter_context(override_settings(LOCAL_ISSUER=issuer.address))
        stack.enter_context(trusting(entry))
        mcp_server = stack.enter_context(_mcp_server(issuer))
        yield issuer, {"the service": Door(_service, 404), "the MCP server": Door(mcp_server, 200)}
