"""What the MCP server learns of a caller by their bearer token; which tokens it takes is tests/bearer_tokens."""

import time
from typing import Any

import anyio
import pytest
from jwt import PyJWK

from agent_mesh.bearer import BearerCheck
from bearer_tokens.issuers import TrustedIssuer
from tests.agent_mesh.identity import MESH, Provider
from tests.orchestrator.key_server import jwk

PROVIDER = Provider("https://id.example/realms/dev")
CHECK = BearerCheck(TrustedIssuer(PROVIDER.address, MESH, {"key-1": PyJWK(jwk("key-1"))}.get))


def verified(token: str) -> Any:
    return anyio.run(CHECK.verify_token, token)


def test_a_caller_is_known_by_issuer_subject_client_and_scopes() -> None:
    ends = int(time.time()) + 60
    access = verified(PROVIDER.token(azp="goose", scope="tasks audit", exp=ends))
    assert (access.subject, access.client_id, access.scopes) == ("alice", "goose", ["tasks", "audit"])
    assert (access.claims, access.expires_at) == ({"iss": PROVIDER.address}, ends + 30)


def test_a_token_that_names_no_client_is_its_subject_s() -> None:
    assert verified(PROVIDER.token(client_id="goose")).client_id == "goose"
    assert verified(PROVIDER.token()).client_id == "alice"


def test_why_is_logged_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    bad = PROVIDER.token(audience="orchestrator")
    assert verified(bad) is None
    assert "InvalidAudienceError" in caplog.text
    assert bad not in caplog.text
