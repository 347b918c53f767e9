"""Tokens that Keycloak itself made, at the API."""

from typing import Any

import jwt
import pytest

from orchestrator import person_rules
from tests.keycloak.calls import CLIENT, administer, call, person_token, person_tokens, service_token
from tests.keycloak.conftest import Serving
from tests.keycloak.server import Keycloak

pytestmark = [pytest.mark.keycloak, pytest.mark.django_db(transaction=True)]

NEW = {"agent_role": "finance"}
OTHER = {"client": "without-audience", "secret": "without-audience-dev-secret"}


def status_of(service: str, token: str) -> int:
    return call("GET", f"{service}/sessions", token)[0]


def test_a_client_s_own_token_opens_and_reads_sessions(keycloak: Keycloak, service: str) -> None:
    token = service_token(keycloak.address("dev"))
    status, opened = call("POST", f"{service}/sessions", token, NEW)
    assert status == 201
    assert opened["created_by"].startswith(f"{keycloak.address('dev')}|")
    status, listed = call("GET", f"{service}/sessions", token)
    assert (status, [row["session_id"] for row in _rows(listed)]) == (200, [opened["session_id"]])
    assert call("POST", f"{service}/sessions", token, {"agent_role": "sales"})[0] == 403


def _rows(listed: Any) -> list[Any]:
    rows = listed if isinstance(listed, list) else next(value for value in listed.values() if isinstance(value, list))
    assert isinstance(rows, list)
    return rows


def test_people_may_do_what_their_roles_and_agent_roles_let_them(keycloak: Keycloak, service: str) -> None:
    agent, approver, operator = (
        person_token(keycloak.address("dev"), f"dev-{role}") for role in ("agent", "approver", "operator")
    )
    status, opened = call("POST", f"{service}/sessions", agent, NEW)
    row = f"{service}/sessions/{opened['session_id']}"
    assert status == 201
    assert [call("GET", row, token)[0] for token in (agent, approver, operator)] == [200, 404, 200]
    assert call("POST", f"{service}/sessions", approver, NEW)[0] == 403
    assert call("PUT", row, operator, {"status": "active"})[0] == 200


def test_a_token_for_another_audience_is_refused_until_the_client_has_the_mapper(
    keycloak: Keycloak, service: str
) -> None:
    assert status_of(service, service_token(keycloak.address("dev"))) == 200
    assert status_of(service, service_token(keycloak.address("dev"), **OTHER)) == 401
    [client] = administer(keycloak, "GET", f"/clients?clientId={OTHER['client']}")
    mappers = f"/clients/{client['id']}/protocol-mappers/models"
    administer(keycloak, "POST", mappers, _audience_mapper())
    assert status_of(service, service_token(keycloak.address("dev"), **OTHER)) == 200
    [mapper] = administer(keycloak, "GET", mappers)
    administer(keycloak, "DELETE", f"{mappers}/{mapper['id']}")
    assert status_of(service, service_token(keycloak.address("dev"), **OTHER)) == 401


def _audience_mapper() -> dict[str, Any]:
    config = {"included.client.audience": "goose-controller", "access.token.claim": "true"}
    kind = {"protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper"}
    return {"name": "audience", **kind, "config": config}


def test_id_tokens_and_refresh_tokens_are_refused(keycloak: Keycloak, service: str) -> None:
    found = person_tokens(keycloak.address("dev"), "dev-operator")
    kinds = ("access_token", "id_token", "refresh_token")
    assert {kind: status_of(service, found[kind]) for kind in kinds} == dict(zip(kinds, (200, 401, 401), strict=True))


def test_the_issuer_is_a_name_and_its_keys_may_be_elsewhere(keycloak: Keycloak, serving_realm: Serving) -> None:
    by_name = keycloak.address("dev", "localhost")
    keys = f"{keycloak.address('dev')}/protocol/openid-connect/certs"
    with serving_realm(OIDC_ISSUER_URL=by_name, OIDC_JWKS_URL=keys) as service:
        assert status_of(service, service_token(by_name)) == 200
        assert status_of(service, service_token(keycloak.address("dev"))) == 401


def test_the_realm_of_existing_deployments_works_as_it_is(keycloak: Keycloak, serving_realm: Serving) -> None:
    """Roles `orchestrator` and `auditor`, no agent roles, no tenant."""
    existing = keycloak.address("existing")
    operator, auditor, nobody = (person_token(existing, f"old-{name}") for name in ("operator", "auditor", "nobody"))
    with serving_realm("existing") as service:
        status, opened = call("POST", f"{service}/sessions", operator, NEW)
        row = f"{service}/sessions/{opened['session_id']}"
        assert status == 201
        assert [call("GET", row, token)[0] for token in (operator, auditor, nobody)] == [200, 200, 403]
        assert call("POST", f"{service}/sessions", auditor, NEW)[0] == 403
        assert call("PUT", row, auditor, {"status": "active"})[0] == 403
        assert call("PUT", row, operator, {"status": "active"})[0] == 200
        assert status_of(service, service_token(keycloak.address("dev"))) == 401


def asked(service: str, agent: str) -> str:
    """The path of an approval that an agent requested of the managers."""
    key = {"task_type": "invoices", "from_role": "finance", "to_role": "finance"}
    status, task = call("POST", f"{service}/tasks", agent, key)
    assert status == 201, task
    question = {"task_id": task["task_id"], "approver_role": "manager"}
    status, approval = call("POST", f"{service}/approvals", agent, question)
    assert status == 201, approval
    return f"{service}/approvals/{approval['approval_id']}"


def test_a_person_decides_by_the_client_that_is_named_and_a_client_s_own_token_does_not(
    keycloak: Keycloak, service: str
) -> None:
    issuer = keycloak.address("dev")
    approval = asked(service, service_token(issuer))
    assert call("POST", f"{approval}/approve", service_token(issuer), {})[0] == 403
    status, decided = call("POST", f"{approval}/approve", person_token(issuer, "dev-approver"), {})
    assert (status, decided["status"]) == (200, "approved")


def test_where_another_client_is_named_a_person_s_token_does_not_decide(
    keycloak: Keycloak, serving_realm: Serving
) -> None:
    issuer = keycloak.address("dev")
    with serving_realm(OIDC_DECIDING_CLIENTS="orchestrator-web") as service:
        approval = asked(service, service_token(issuer))
        status, refused = call("POST", f"{approval}/approve", person_token(issuer, "dev-approver"), {})
    assert (status, refused["type"]) == (403, "/problems/client-may-not-decide")


def test_a_lightweight_token_of_a_client_does_not_decide(keycloak: Keycloak, service: str) -> None:
    """It has neither a user name nor a client that would tell: only a sign of a login would make it a person's."""
    issuer = keycloak.address("dev")
    [client] = administer(keycloak, "GET", f"/clients?clientId={CLIENT}")
    path = f"/clients/{client['id']}"
    lightweight = {**client["attributes"], "client.use.lightweight.access.token.enabled": "true"}
    administer(keycloak, "PUT", path, {**client, "attributes": lightweight})
    try:
        claims, person = (_claims(token) for token in (service_token(issuer), person_token(issuer, "dev-approver")))
    finally:
        heavy = {**lightweight, "client.use.lightweight.access.token.enabled": "false"}
        administer(keycloak, "PUT", path, {**client, "attributes": heavy})
    assert "preferred_username" not in claims
    assert not person_rules.DEFAULT.match(claims)
    assert person_rules.DEFAULT.match(person)


def _claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))
