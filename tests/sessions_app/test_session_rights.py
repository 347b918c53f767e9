"""Who opens, sees and moves a session."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from sessions_app.models import Session
from tests.api import Api, token
from tests.sessions_app.session_calls import (
    UNKNOWN_ID,
    events_of,
    last_event,
    left_by,
    only_refused,
    overdue_session,
    path,
    session_in,
    somebody,
    stored,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)


class Caller(NamedTuple):
    """What a token says of its bearer."""

    roles: str
    agent_roles: str
    subject: str = "bob"
    options: Mapping[str, Any] = MappingProxyType({})

    def api(self) -> Api:
        return Api(token(self.subject, roles=self.roles, agent_roles=self.agent_roles, **self.options))


ABROAD = {"tenant": "other"}
FOR_MIA = {"act_subject": "bot"}

# What each is answered who reads, and who moves, alice's session of the role finance.
CALLERS = {
    "an agent of the role": (200, 200, Caller("agent", "finance")),
    "an agent of several roles": (200, 200, Caller("agent", "legal,finance")),
    "a service account of the role": (200, 200, Caller("agent", "finance", options={"service_account": True})),
    "an agent of another role": (404, 404, Caller("agent", "legal")),
    "an agent of a role that begins alike": (404, 404, Caller("agent", "fin,finance-2,FINANCE")),
    "an agent of no role": (404, 404, Caller("agent", "")),
    "its maker who lost the role": (200, 200, Caller("agent", "legal", subject="alice")),
    "its maker who lost every role": (200, 200, Caller("agent", "", subject="alice")),
    "its maker who is an approver of another role now": (404, 404, Caller("approver", "legal", subject="alice")),
    "its maker who is an auditor now": (200, 403, Caller("auditor", "", subject="alice")),
    "an approver of the role": (200, 403, Caller("approver", "finance")),
    "an approver of another role": (404, 404, Caller("approver", "legal")),
    "an auditor": (200, 403, Caller("auditor", "")),
    "an auditor with the role's name": (200, 403, Caller("auditor", "finance")),
    "an operator": (200, 200, Caller("operator", "")),
    "an operator by the older name": (200, 200, Caller("orchestrator", "")),
    "an agent and approver of the role": (200, 200, Caller("agent,approver", "finance")),
    "an agent and approver of another role": (404, 404, Caller("agent,approver", "legal")),
    "an agent of another role who is an auditor": (200, 403, Caller("agent,auditor", "legal")),
    "an agent of the role who is an auditor": (200, 200, Caller("agent,auditor", "finance")),
    "an agent of another role who is an operator": (200, 200, Caller("agent,operator", "legal")),
    "an approver of the role who is an auditor": (200, 403, Caller("approver,auditor", "finance")),
    "an approver of another role who is an auditor": (200, 403, Caller("approver,auditor", "legal")),
    "an auditor who is an operator": (200, 200, Caller("auditor,operator", "")),
    "an agent of the role in another tenant": (404, 404, Caller("agent", "finance", options=ABROAD)),
    "its maker in another tenant": (404, 404, Caller("agent", "finance", subject="alice", options=ABROAD)),
    "an approver of the role in another tenant": (404, 404, Caller("approver", "finance", options=ABROAD)),
    "an auditor of another tenant": (404, 404, Caller("auditor", "", options=ABROAD)),
    "an operator of another tenant": (404, 404, Caller("operator", "", options=ABROAD)),
    "an agent of the role acting for a person": (200, 200, Caller("agent", "finance", "mia", FOR_MIA)),
    "an agent of another role acting for a person": (404, 404, Caller("agent", "legal", "mia", FOR_MIA)),
    "an agent of another role acting for its maker": (404, 404, Caller("agent", "legal", "alice", FOR_MIA)),
    "an agent of another role acting for an operator": (404, 404, Caller("agent,operator", "legal", "mia", FOR_MIA)),
    "an agent of no role acting for an approver": (404, 404, Caller("agent,approver", "", "mia", FOR_MIA)),
    "an agent of the role acting for an approver": (200, 200, Caller("agent,approver", "finance", "mia", FOR_MIA)),
    "someone acting for an auditor": (200, 403, Caller("auditor", "", "mia", FOR_MIA)),
    "someone acting for an auditor and operator": (200, 403, Caller("auditor,operator", "", "mia", FOR_MIA)),
}

SLUGS = {403: "/problems/forbidden", 404: "/problems/not-found"}


@pytest.mark.parametrize("name", CALLERS)
def test_sees_and_moves_what_its_token_lets_it(name: str) -> None:
    sees, moves, caller = CALLERS[name]
    api = caller.api()
    session = session_in("pending", somebody("alice"))
    with unchanged(session.id):
        seen = api.get(path(session))
        assert seen.status_code == sees, seen.content
        assert seen.json().get("type") == SLUGS.get(sees)
    if moves == 200:
        moved = api.put(path(session), {"status": "active"})
        assert (moved.status_code, moved.json()["status"]) == (200, "active")
        assert last_event(session.id).actor_subject == caller.options.get("act_subject", caller.subject)
    else:
        with left_by(moves, session.id, "change"):
            refused = api.put(path(session), {"status": "active"})
        assert refused.status_code == moves, refused.content
        assert refused.json()["type"] == SLUGS[moves]


OPENERS = {
    "an agent of the role": (201, Caller("agent", "finance")),
    "an agent of several roles": (201, Caller("agent", "legal,finance")),
    "an agent of another role": (403, Caller("agent", "legal")),
    "an agent of a role that begins alike": (403, Caller("agent", "fin,finance-2,FINANCE")),
    "an agent of no role": (403, Caller("agent", "")),
    "an approver of the role": (403, Caller("approver", "finance")),
    "an auditor": (403, Caller("auditor", "finance")),
    "an approver and auditor of the role": (403, Caller("approver,auditor", "finance")),
    "an operator": (201, Caller("operator", "")),
    "an operator and agent of another role": (201, Caller("agent,operator", "legal")),
    "an agent and approver of the role": (201, Caller("agent,approver", "finance")),
    "an agent of the role in another tenant": (201, Caller("agent", "finance", options=ABROAD)),
    "an agent of the role acting for a person": (201, Caller("agent", "finance", "mia", FOR_MIA)),
    "an agent of another role acting for an operator": (403, Caller("agent,operator", "legal", "mia", FOR_MIA)),
    "someone acting for an approver of the role": (403, Caller("approver,auditor", "finance", "mia", FOR_MIA)),
}


@pytest.mark.parametrize("name", OPENERS)
def test_opens_sessions_for_the_roles_that_its_token_lets_it(name: str) -> None:
    status, caller = OPENERS[name]
    answer = caller.api().post("/sessions", {"agent_role": "finance"})
    assert answer.status_code == status, answer.content
    if status == 201:
        row = stored(answer.json()["session_id"])
        assert row["tenant"] == caller.options.get("tenant", "default")
        assert row["created_by_subject"] == caller.options.get("act_subject", caller.subject)
        assert caller.api().get(answer.headers["Location"]).status_code == 200
    else:
        assert answer.json()["type"] == "/problems/forbidden"
        assert not Session.objects.exists()


# Unseen and missing look the same.

HIDDEN_FROM = [
    Caller("agent", "legal"),
    Caller("approver", "legal"),
    Caller("agent,operator,auditor", "finance", options=ABROAD),
]
CALLS: list[tuple[str, Any, dict[str, str]]] = [
    ("GET", None, {}),
    ("GET", None, {"if_none_match": "*"}),
    ("PUT", {"status": "active"}, {}),
    ("PUT", {"status": "pending"}, {}),
    ("PUT", {"metadata": {"a": 1}, "task_id": UNKNOWN_ID}, {}),
    ("PUT", {}, {"if_match": '"9"'}),
    ("PUT", {}, {"if_match": "9"}),
    ("PUT", {"status": "archived"}, {}),
    ("PATCH", {}, {}),
]


def told(caller: Api, pk: str, method: str, body: Any, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
    answer = caller.send(method, f"/sessions/{pk}", body, x_request_id="req-12345678", x_trace_id="run-7", **headers)
    return answer.status_code, answer.content.replace(pk.encode(), b"ID"), dict(answer.headers)


@pytest.mark.parametrize("caller", HIDDEN_FROM, ids=["another role", "an approver", "another tenant"])
def test_unseen_and_missing_are_answered_byte_for_byte_the_same(caller: Caller) -> None:
    api = caller.api()
    session = session_in("pending", somebody("alice"))
    ended, overdue = session_in("completed", somebody("alice")), overdue_session("active")
    for method, body, headers in CALLS:
        missing = told(api, UNKNOWN_ID, method, body, headers)
        for hidden in (session, ended, overdue):
            with unchanged(hidden.id):
                assert told(api, str(hidden.id), method, body, headers) == missing
    assert told(api, str(session.id), "GET", None, {})[0] == 404
    assert told(api, str(session.id), "PUT", {}, {})[0] == 404


def test_an_id_in_another_case_tells_no_more() -> None:
    api = HIDDEN_FROM[0].api()
    session = session_in("pending", somebody("alice"))
    missing = told(api, UNKNOWN_ID.replace("a", "A"), "GET", None, {})
    assert told(api, str(session.id).upper(), "GET", None, {}) == missing


# 403 is for what is seen, and comes before what the state would say.


@pytest.mark.parametrize("roles", ["approver", "auditor"])
def test_who_may_not_move_a_session_is_not_told_more_by_trying(roles: str) -> None:
    api = Api(token("bob", roles=roles))
    sessions = [session_in("pending"), session_in("completed"), overdue_session("active")]
    for session in sessions:
        assert api.get(path(session)).status_code == 200
        for headers in ({}, {"if_match": '"9"'}):
            for body in ({}, {"status": "active"}, {"status": "pending"}, {"task_id": UNKNOWN_ID}):
                with only_refused(session.id, "change"):
                    answer = api.put(path(session), body, **headers)
                assert answer.status_code == 403, answer.content
                assert answer.json()["type"] == "/problems/forbidden"
        assert api.put(path(session), {"status": "archived"}).status_code == 400


def test_who_may_not_open_a_session_is_told_so_before_its_task_is_looked_for() -> None:
    api = Api(token("bob", agent_roles="legal"))
    assert api.post("/sessions", {"agent_role": "finance", "task_id": UNKNOWN_ID}).status_code == 403
    assert api.post("/sessions", {"agent_role": "legal", "task_id": UNKNOWN_ID}).status_code == 400


@pytest.mark.parametrize(
    "options", [{"roles": "viewer"}, {"roles": ""}, {"roles": "operator,approver", "act_subject": "bot"}]
)
def test_a_token_without_a_known_role_may_do_nothing(options: dict[str, Any]) -> None:
    api = Api(token("alice", **options))
    session = session_in("pending", somebody("alice"))
    with unchanged(session.id):
        for at in (path(session), f"/sessions/{UNKNOWN_ID}", "/sessions/x"):
            assert api.get(at).status_code == 403
            assert api.put(at, {"status": "active"}).status_code == 403
    assert api.post("/sessions", {"agent_role": "finance"}).status_code == 403
    assert Session.objects.count() == 1


def test_nobody_is_let_in_without_a_token() -> None:
    api = Api(None)
    session = session_in("pending")
    with unchanged(session.id):
        answers = [
            api.get(path(session)),
            api.put(path(session), {"status": "active"}),
            api.post("/sessions", {"agent_role": "finance"}),
            api.get(f"/sessions/{UNKNOWN_ID}"),
        ]
    assert [answer.status_code for answer in answers] == [401] * 4
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Bearer realm="orchestrator"'}


# Acting for somebody.


def test_what_an_agent_opens_for_a_person_is_the_agents_and_names_the_person() -> None:
    acting = Api(token("alice", act_subject="bot"))
    session = acting.post("/sessions", {"agent_role": "finance"}).json()
    assert session["created_by"] == "local|bot"
    row = stored(session["session_id"])
    assert (row["on_behalf_of_issuer"], row["on_behalf_of_subject"]) == ("local", "alice")
    (event,) = events_of(session["session_id"])
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "bot", "agent")
    assert (event.on_behalf_of_issuer, event.on_behalf_of_subject) == ("local", "alice")


def test_a_session_opened_for_a_person_follows_the_agent_and_not_the_person() -> None:
    session = Api(token("alice", act_subject="bot")).post("/sessions", {"agent_role": "finance"}).json()
    for_mia = Api(token("mia", agent_roles="legal", act_subject="bot"))
    assert for_mia.get(path(session)).status_code == 200
    assert Api(token("alice", agent_roles="legal")).get(path(session)).status_code == 404
    assert for_mia.put(path(session), {"status": "active"}).status_code == 200
    event = last_event(session["session_id"])
    assert (event.actor_subject, event.on_behalf_of_subject) == ("bot", "mia")
    assert stored(session["session_id"])["on_behalf_of_subject"] == "alice"


def test_the_trail_knows_a_person_from_a_service_account() -> None:
    kinds = {"person": Api(token("bob")), "service_account": Api(token("bob", service_account=True))}
    for kind, api in kinds.items():
        session = api.post("/sessions", {"agent_role": "finance"}).json()
        event = last_event(session["session_id"])
        assert (event.actor_kind, event.on_behalf_of_subject) == (kind, None)
