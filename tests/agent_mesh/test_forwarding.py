"""A caller's token exchanged for one for the service: who is named in it, and that it decides nothing."""

from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from agent_mesh.forwarding import Exchanged
from agent_mesh.problems import NoToken
from agent_mesh.tokens import TokenEndpoint
from orchestrator import jwks
from sessions_app.models import Decision
from tests.agent_mesh.identity import ITSELF, MESH, SECRET, SERVICE, Provider, providing
from tests.api import Api
from tests.orchestrator.key_server import CLIENT
from tests.sessions_app.approval_calls import ask, where

pytestmark = pytest.mark.django_db(transaction=True)

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    """A provider that the service in this process trusts."""
    with providing() as one:
        known = {"issuer": one.address, "audience": SERVICE, "jwks_url": f"{one.address}/keys", "tenants": ("default",)}
        settings.OIDC_ISSUERS, settings.OIDC_DECIDING_CLIENTS = (known,), (CLIENT,)
        jwks.issuers.cache_clear()
        yield one
        jwks.issuers.cache_clear()


def exchanged(provider: Provider, bearer: str, secret: str = SECRET) -> str:
    """The token that the service is called with for a caller of the mesh."""
    return Exchanged(TokenEndpoint(f"{provider.address}/token", MESH, secret), SERVICE).source(bearer).token()


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_the_server_s_own_token_goes_along_as_that_of_the_actor(provider: Provider) -> None:
    bearer = provider.person_token(audience=MESH)
    exchanged(provider, bearer)
    [form] = provider.exchanged
    assert (form["subject_token"], form["subject_token_type"]) == (bearer, ACCESS_TOKEN)
    assert form["actor_token_type"] == ACCESS_TOKEN
    actor = claims(form["actor_token"])
    assert (actor["sub"], actor["azp"], actor["aud"]) == (ITSELF, MESH, SERVICE)


def test_it_is_fetched_once_for_many_callers(provider: Provider) -> None:
    forwarding = Exchanged(TokenEndpoint(f"{provider.address}/token", MESH, SECRET), SERVICE)
    for subject in ("mona", "finn"):
        forwarding.source(provider.token(subject)).token()
    assert len({form["actor_token"] for form in provider.exchanged}) == 1
    assert len(provider.exchanged) == 2


def test_without_a_token_of_its_own_nothing_is_exchanged(provider: Provider) -> None:
    with pytest.raises(NoToken):
        exchanged(provider, provider.person_token(audience=MESH), secret="wrong")
    assert provider.exchanged == []


@pytest.mark.parametrize("delegates", [True, False], ids=["with act", "with azp alone"])
def test_a_person_s_token_in_the_hands_of_the_mesh_decides_nothing(provider: Provider, delegates: bool) -> None:
    provider.delegates = delegates
    roles: dict[str, Any] = {"realm_access": {"roles": ["agent", "approver"]}, "agent_roles": ["manager"]}
    through = exchanged(provider, provider.person_token(audience=MESH, **roles))
    said = claims(through)
    assert (said["sub"], said["azp"], said.get("act")) == ("petra", MESH, {"sub": ITSELF} if delegates else None)

    approval, mesh, petra = ask(), Api(through), Api(provider.person_token())
    assert mesh.get("/approvals?assignee=me").json()["approvals"] == []
    assert [row["approval_id"] for row in petra.get("/approvals?assignee=me").json()["approvals"]] == [str(approval.pk)]
    answer = mesh.post(where(approval, "approve"), {})
    # With act it is the token of an agent, which is no approver and does not see the request.
    refusal = (404, "/problems/not-found") if delegates else (403, "/problems/client-may-not-decide")
    assert (answer.status_code, answer.json()["type"]) == refusal
    assert not Decision.objects.exists()
    assert petra.post(where(approval, "approve"), {}).json()["status"] == "approved"
