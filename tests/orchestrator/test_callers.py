"""Whom a good token makes of the caller: identity, kind, tenant, roles."""

import uuid
from typing import Any

import pytest

from audit_app.models import AuditEvent
from orchestrator.actors import Actor, Identity, Kind, Origin, Role, Via
from orchestrator.auth import verify
from orchestrator.problems import Forbidden
from tests.api import Api, token
from tests.orchestrator.tokens import GONE, saying

database = pytest.mark.django_db(transaction=True)
ROW = f"/sessions/{uuid.UUID(int=0)}"


def actor(**claims: Any) -> Actor:
    """The actor that a token with these claims speaks for."""
    return verify(saying(**claims)(), Origin(Via.API, "a-request", "a-trace", "192.0.2.1"))


def roles(*named: Any) -> dict[str, Any]:
    return {"roles": [*named]}


def test_a_caller_is_known_by_issuer_and_subject_and_nothing_else() -> None:
    known = actor(sub="alice", email="bob@example.com", preferred_username="root", name="Bob")
    assert known.identity == Identity("local", "alice")
    assert (known.kind, known.tenant, known.on_behalf_of) == (Kind.PERSON, "acme", None)
    assert known.origin == Origin(Via.API, "a-request", "a-trace", "192.0.2.1")


def test_roles_and_agent_roles_are_those_of_the_token() -> None:
    known = actor(realm_access=roles("agent", "approver", "auditor", "operator"), agent_roles=["finance", "manager"])
    assert known.roles == set(Role)
    assert known.agent_roles == {"finance", "manager"}


def test_the_role_orchestrator_is_read_as_operator() -> None:
    assert actor(realm_access=roles("orchestrator")).roles == {Role.OPERATOR}


def test_a_lone_word_counts_as_a_list_of_one() -> None:
    known = actor(realm_access={"roles": "agent"}, agent_roles="finance")
    assert known.roles == {Role.AGENT}
    assert known.agent_roles == {"finance"}


def test_unknown_roles_are_passed_over_beside_a_known_one() -> None:
    assert actor(realm_access=roles("agent", "cook", 7, None, ["operator"], "Operator", "")).roles == {Role.AGENT}


@pytest.mark.parametrize(
    "said",
    [
        *({"realm_access": access} for access in (GONE, None, {}, [], "agent", 7, ["agent"], {"roles": {"agent": 1}})),
        *({"realm_access": roles(*named)} for named in ([], ["cook"], ["AGENT"], [" agent"], ["agent operator"])),
        {"realm_access": GONE, "roles": ["agent"], "resource_access": {"orchestrator": roles("operator")}},
    ],
    ids=str,
)
def test_a_caller_without_a_known_role_may_do_nothing(said: dict[str, Any]) -> None:
    assert Api(saying()()).get("/nowhere").status_code == 404
    answer = Api(saying(**said)()).get("/nowhere")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    with pytest.raises(Forbidden):
        actor(**said)


@pytest.mark.parametrize("said", [GONE, None])
def test_a_caller_without_a_tenant_is_of_the_default_one(said: Any) -> None:
    assert actor(tenant=said).tenant == "default"


@pytest.mark.parametrize("said", ["a", "a" * 64, "Müller & Söhne"])
def test_a_tenant_is_taken_as_it_stands(said: str) -> None:
    assert actor(tenant=said).tenant == said


@pytest.mark.parametrize(
    "said", ["", "a" * 65, 7, True, ["acme"], {"id": "acme"}, "a\nb", "a\x00b", "\ud800"], ids=ascii
)
def test_a_caller_with_an_unusable_tenant_may_do_nothing(said: Any) -> None:
    assert Api(saying(tenant="acme")()).get("/nowhere").status_code == 404
    answer = Api(saying(tenant=said)()).get("/nowhere")
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({}, Kind.PERSON),
        ({"preferred_username": "service-account-billing"}, Kind.SERVICE_ACCOUNT),
        ({"client_id": "alice"}, Kind.SERVICE_ACCOUNT),
        ({"client_id": "another"}, Kind.PERSON),
        ({"preferred_username": "my-service-account-billing"}, Kind.PERSON),
        ({"preferred_username": ["service-account-billing"]}, Kind.SERVICE_ACCOUNT),
        ({"kind": GONE}, Kind.SERVICE_ACCOUNT),
        ({"kind": "service_account"}, Kind.SERVICE_ACCOUNT),
        ({"kind": "human"}, Kind.SERVICE_ACCOUNT),
        ({"cid": "alice"}, Kind.SERVICE_ACCOUNT),
        ({"sub": "job:expire_sessions"}, Kind.PERSON),
        ({"act": {"sub": "bot"}}, Kind.AGENT),
        ({"act": {"sub": "bot"}, "client_id": "alice"}, Kind.AGENT),
        ({"act": None}, Kind.PERSON),
    ],
    ids=str,
)
def test_what_kind_of_caller_it_is(said: dict[str, Any], kind: Kind) -> None:
    assert actor(**said).kind is kind


def test_with_act_the_agent_is_the_actor_and_the_subject_its_principal() -> None:
    known = actor(sub="alice", act={"sub": "bot"})
    assert (known.identity, known.on_behalf_of) == (Identity("local", "bot"), Identity("local", "alice"))
    elsewhere = actor(sub="alice", act={"sub": "bot", "iss": "https://agents.example"})
    assert elsewhere.identity == Identity("https://agents.example", "bot")
    # RFC 8693, section 4.1: the outermost is who acts now, those inside are history.
    assert actor(act={"sub": "bot", "act": {"sub": "older"}}).identity == Identity("local", "bot")


def test_an_agent_that_acts_for_somebody_neither_approves_nor_operates() -> None:
    everything = roles("agent", "approver", "auditor", "operator", "orchestrator")
    assert actor(realm_access=everything).roles == set(Role)
    assert actor(realm_access=everything, act={"sub": "bot"}).roles == {Role.AGENT, Role.AUDITOR}
    only_theirs = saying(realm_access=roles("approver", "operator"), act={"sub": "bot"})
    assert Api(only_theirs()).get("/nowhere").status_code == 403


@database
def test_the_agent_and_its_principal_are_kept_in_the_trail() -> None:
    bot = Api(token("alice", roles="agent,operator", tenant="acme", act_subject="bot"))
    assert bot.post("/sessions", {"agent_role": "sales"}).status_code == 403
    session = bot.post("/sessions", {"agent_role": "finance"}).json()
    assert session["created_by"] == "local|bot"
    event = AuditEvent.objects.get(subject_id=session["session_id"])
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "bot", "agent")
    assert (event.on_behalf_of_issuer, event.on_behalf_of_subject, event.tenant) == ("local", "alice", "acme")


@database
@pytest.mark.parametrize("role", ["operator", "orchestrator"])
def test_an_operator_opens_sessions_for_any_role(role: str) -> None:
    body = {"agent_role": "sales"}
    assert Api(token("olga", roles="agent")).post("/sessions", body).status_code == 403
    assert Api(token("olga", roles=role)).post("/sessions", body).status_code == 201


@database
@pytest.mark.parametrize("word", ["fin\0ance", "\ud800", "x" * 300, "finance\n", ""], ids=ascii)
def test_an_agent_role_that_no_row_can_have_is_passed_over(word: str) -> None:
    caller = Api(saying(agent_roles=[word, "finance", 7, None, {"a": 1}])())
    assert caller.get(ROW).status_code == 404
    assert caller.post("/sessions", {"agent_role": "finance"}).status_code == 201


@database
def test_the_trail_keeps_the_address_of_the_caller_and_not_the_one_it_claims(agent: Api) -> None:
    session = agent.post("/sessions", {"agent_role": "finance"}, X_Forwarded_For="203.0.113.9").json()
    assert AuditEvent.objects.get(subject_id=session["session_id"]).ip == "127.0.0.1"
