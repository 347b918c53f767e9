"""The mesh with Keycloak itself: tokens by client credentials, tokens exchanged, and whose tokens it lets in."""

import sys
from typing import Any

import anyio
import jwt
import pytest
from mcp import StdioServerParameters

from agent_mesh.bearer import BearerCheck
from agent_mesh.client import Client
from agent_mesh.forwarding import Exchanged
from agent_mesh.tokens import ClientCredentials, TokenEndpoint
from bearer_tokens.discovery import key_fetcher
from bearer_tokens.issuers import TrustedIssuer
from bearer_tokens.jwks_cache import KeyCache
from tests.agent_mesh.talking import talking
from tests.gunicorn_server import HERE
from tests.keycloak.calls import CLIENT, SECRET, administer, person_token, person_tokens, service_token
from tests.keycloak.server import Keycloak

pytestmark = [pytest.mark.keycloak, pytest.mark.django_db(transaction=True)]


def token_url(keycloak: Keycloak) -> str:
    return f"{keycloak.address('dev')}/protocol/openid-connect/token"


def subject(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])


def test_an_agent_calls_with_tokens_that_it_gets_by_its_credentials(keycloak: Keycloak, service: str) -> None:
    with Client(service, ClientCredentials(token_url(keycloak), CLIENT, SECRET)) as agent:
        opened = agent.sessions.open("finance")
        assert opened["created_by"].startswith(f"{keycloak.address('dev')}|")
        assert agent.sessions.get(opened["session_id"])["status"] == "pending"


def test_an_mcp_server_gets_its_token_by_its_credentials(keycloak: Keycloak, service: str) -> None:
    said = {
        "CONTROLLER_URL": service,
        "MESH_TOKEN_URL": token_url(keycloak),
        "MESH_CLIENT_ID": CLIENT,
        "MESH_CLIENT_SECRET": SECRET,
    }
    command = StdioServerParameters(command=sys.executable, args=["-m", "agent_mesh"], env=said, cwd=HERE)
    with talking(command) as agent:
        sent = agent.does("send_task", target="finance", task={"task_type": "invoices"})
        assert agent.does("fetch_status", task_id=sent["task_id"])["status"] == "pending"


def test_a_caller_s_token_is_exchanged_and_names_the_same_caller(keycloak: Keycloak, service: str) -> None:
    [known] = administer(keycloak, "GET", f"/clients?clientId={CLIENT}")
    attributes: dict[str, Any] = {**known["attributes"], "standard.token.exchange.enabled": "true"}
    administer(keycloak, "PUT", f"/clients/{known['id']}", {**known, "attributes": attributes})
    bearer = person_token(keycloak.address("dev"), "dev-agent")
    source = Exchanged(TokenEndpoint(token_url(keycloak), CLIENT, SECRET), CLIENT).source(bearer)
    with Client(service, source) as agent:
        assert agent.sessions.open("finance")["created_by"] == f"{keycloak.address('dev')}|{subject(bearer)}"
    assert source.token() != bearer
    # Keycloak passes over the actor_token that comes along: azp, the mesh's client, is all that tells.
    claims = jwt.decode(source.token(), options={"verify_signature": False})
    assert (claims["azp"], claims.get("act")) == (CLIENT, None)


def test_keycloak_s_access_tokens_are_let_in_and_no_others_of_its_tokens(keycloak: Keycloak) -> None:
    issuer = keycloak.address("dev")
    check = BearerCheck(TrustedIssuer(issuer, CLIENT, KeyCache(key_fetcher(issuer, "")).key))

    def verified(token: str) -> Any:
        return anyio.run(check.verify_token, token)

    found = person_tokens(issuer, "dev-agent")
    assert verified(found["access_token"]).subject == subject(found["access_token"])
    assert verified(service_token(issuer)).client_id == CLIENT
    for kind in ("id_token", "refresh_token"):
        assert verified(found[kind]) is None
    assert verified(service_token(issuer, client="without-audience", secret="without-audience-dev-secret")) is None
