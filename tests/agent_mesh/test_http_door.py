"""Who is let in to the MCP server over HTTP, and what the others are told (RFC 6750, RFC 9728)."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from agent_mesh.environment import Environment, Unusable
from agent_mesh.over_http import application
from tests.agent_mesh.identity import MESH, SERVICE, Provider, providing

PUBLIC = "http://mesh.example/mcp"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPTS = {"Accept": "application/json, text/event-stream"}


def environment(provider: Provider | None, **more: str) -> Environment:
    known = {
        "CONTROLLER_URL": "http://127.0.0.1:9",
        "MESH_PUBLIC_URL": PUBLIC,
        "MESH_ISSUER_URL": provider.address if provider else "http://127.0.0.1:9",
        "MESH_AUDIENCE": MESH,
        "MESH_FORWARD": "pass",
    }
    return Environment({**known, **more})


def ask(said: Environment, method: str, path: str, **request: Any) -> httpx.Response:
    """One request to the application in this process."""

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(application(said))
        async with httpx.AsyncClient(transport=transport, base_url="http://mesh.example") as client:
            return await client.request(method, path, **request)

    return anyio.run(asked)


def refused(provider: Provider, **headers: str) -> httpx.Response:
    return ask(environment(provider), "POST", "/mcp", json=INITIALIZE, headers={**ACCEPTS, **headers})


BAD: dict[str, Callable[[Provider], dict[str, str]]] = {
    "none": lambda _: {},
    "another scheme": lambda provider: {"Authorization": f"Basic {provider.token()}"},
    "no token": lambda _: {"Authorization": "Bearer no.such.token"},
    "for the service alone": lambda provider: {"Authorization": f"Bearer {provider.token(audience=SERVICE)}"},
    "over": lambda provider: {"Authorization": f"Bearer {provider.token(exp=1)}"},
}


@pytest.mark.parametrize("how", BAD)
def test_without_a_good_token_it_is_a_401_that_says_where_to_get_one(how: str) -> None:
    with providing() as provider:
        answer = refused(provider, **BAD[how](provider))
    assert answer.status_code == 401
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ")
    assert 'resource_metadata="http://mesh.example/.well-known/oauth-protected-resource/mcp"' in challenge


def test_the_metadata_names_the_issuer_to_anybody() -> None:
    with providing() as provider:
        answer = ask(environment(provider), "GET", "/.well-known/oauth-protected-resource/mcp")
        assert answer.status_code == 200
        assert answer.json()["resource"] == PUBLIC
        assert answer.json()["authorization_servers"] == [provider.address]


def test_where_nobody_can_tell_it_is_a_503() -> None:
    with providing() as provider:
        good = provider.token()
    answer = ask(
        environment(None, MESH_ISSUER_URL=provider.address),
        "POST",
        "/mcp",
        json=INITIALIZE,
        headers={**ACCEPTS, "Authorization": f"Bearer {good}"},
    )
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"MESH_PUBLIC_URL": ""}, "MESH_PUBLIC_URL"),
        ({"MESH_PUBLIC_URL": "mesh.example"}, "MESH_PUBLIC_URL"),
        ({"MESH_ISSUER_URL": ""}, "MESH_ISSUER_URL"),
        ({"MESH_FORWARD": ""}, "MESH_FORWARD"),
        ({"MESH_FORWARD": "maybe"}, "MESH_FORWARD"),
        ({"MESH_FORWARD": "exchange"}, "MESH_TOKEN_URL"),
        ({"MESH_FORWARD": "exchange", "MESH_TOKEN_URL": "https://id.example/token"}, "MESH_CLIENT_ID"),
        (
            {"MESH_FORWARD": "exchange", "MESH_TOKEN_URL": "https://id.example/token", "MESH_CLIENT_ID": "mesh"},
            "MESH_CLIENT_SECRET",
        ),
        ({"MESH_RETRY_COUNT": "many"}, "MESH_RETRY_COUNT"),
        ({"CONTROLLER_URL": "localhost:8088"}, "CONTROLLER_URL"),
    ],
)
def test_what_cannot_be_served_is_refused_at_the_start(changed: dict[str, str], named: str) -> None:
    with pytest.raises(Unusable, match=named):
        application(environment(None, **changed))
