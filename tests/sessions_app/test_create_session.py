"""POST /sessions"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from audit_app.models import AuditEvent
from sessions_app.models import Session
from tests.api import Api, errors
from tests.sessions_app.session_calls import (
    NO_UUIDS,
    UNKNOWN_ID,
    WEEK,
    events_of,
    last_event,
    path,
    somebody,
    stored,
    task_for,
)

pytestmark = pytest.mark.django_db(transaction=True)

WHOLE = {"agent_role": "finance", "metadata": {"quarter": "Q4", "accounts": [4711, "0815"]}, "ttl_seconds": 3600}


def opened(caller: Api, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = caller.post("/sessions", body, **headers)
    assert answer.status_code == 201, answer.content
    session: dict[str, Any] = answer.json()
    return session


def lasts(session: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(session["expires_at"]) - datetime.fromisoformat(session["created_at"])


def assert_refused(answer: Any, *fields: str) -> None:
    assert answer.status_code == 400, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/invalid-request"
    assert tuple(errors(answer)) == fields
    assert not Session.objects.exists()
    assert not AuditEvent.objects.filter(subject_type="session").exists()


def test_answers_the_whole_session_and_nothing_else(agent: Api) -> None:
    session = opened(agent, WHOLE)
    assert session == {
        "session_id": session["session_id"],
        "agent_role": "finance",
        "task_id": None,
        "status": "pending",
        "state": "pending",
        "metadata": {"quarter": "Q4", "accounts": [4711, "0815"]},
        "created_at": session["created_at"],
        "updated_at": session["created_at"],
        "expires_at": session["expires_at"],
        "created_by": "local|alice",
        "version": 1,
        "reason": None,
        "allowed_transitions": ["active", "expired"],
    }
    assert UUID(session["session_id"]).version == 7
    assert session["session_id"] == str(UUID(session["session_id"]))


def test_answers_times_in_utc_with_a_z(agent: Api) -> None:
    session = opened(agent, WHOLE)
    for name in ("created_at", "updated_at", "expires_at"):
        assert session[name].endswith("Z")
        assert datetime.fromisoformat(session[name]).utcoffset() == timedelta(0)
    assert datetime.fromisoformat(session["created_at"]) == stored(session["session_id"])["created_at"]


def test_says_where_the_session_is_and_which_version_it_has(agent: Api) -> None:
    answer = agent.post("/sessions", WHOLE)
    assert answer.headers["Location"] == path(answer.json())
    assert answer.headers["ETag"] == '"1"'
    assert answer.headers["Content-Type"] == "application/json"
    assert agent.get(answer.headers["Location"]).json() == answer.json()


def test_the_role_alone_is_enough(agent: Api) -> None:
    session = opened(agent, {"agent_role": "finance"})
    assert session["metadata"] == {}
    assert lasts(session) == WEEK


def test_null_counts_as_absent(agent: Api) -> None:
    session = opened(agent, {"agent_role": "finance", "task_id": None, "metadata": None, "ttl_seconds": None})
    assert (session["task_id"], session["metadata"], lasts(session)) == (None, {}, WEEK)


def test_refuses_members_that_it_does_not_know(agent: Api) -> None:
    foreign = {"session_id": UNKNOWN_ID, "status": "active", "version": 7, "tenant": "other", "reason": "so", "x": {}}
    answer = agent.post("/sessions", {**WHOLE, **foreign})
    assert (answer.status_code, list(errors(answer))) == (400, list(foreign))
    assert not Session.objects.exists()


def test_a_caller_who_prefers_it_has_unknown_members_ignored(agent: Api) -> None:
    foreign = {"session_id": UNKNOWN_ID, "status": "active", "version": 7, "tenant": "other", "reason": "so", "x": {}}
    session = agent.post("/sessions", {**WHOLE, **foreign}, Prefer="handling=lenient").json()
    assert session["session_id"] != UNKNOWN_ID
    assert (session["status"], session["version"], session["reason"]) == ("pending", 1, None)
    assert stored(session["session_id"])["tenant"] == "default"


def test_each_call_opens_a_session_of_its_own(agent: Api) -> None:
    first, second = opened(agent, WHOLE), opened(agent, WHOLE)
    assert first["session_id"] != second["session_id"]
    assert Session.objects.count() == 2


def test_records_one_event_that_names_the_request_and_the_caller(agent: Api) -> None:
    session = opened(agent, WHOLE, x_request_id="req-12345678", x_trace_id="trace-1")
    (event,) = events_of(session["session_id"])
    assert (event.event_type, event.subject_type, event.seq) == ("session.created", "session", 1)
    assert (event.from_status, event.to_status, event.reason, event.role) == (None, "pending", "", "finance")
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "alice", "person")
    assert (event.request_id, event.trace_id, event.via, event.ip) == ("req-12345678", "trace-1", "api", "127.0.0.1")
    assert (event.tenant, event.cause) == ("default", None)
    assert event.timestamp == datetime.fromisoformat(session["created_at"])
    assert event.metadata["changes"] == {
        "task_id": None,
        "metadata": WHOLE["metadata"],
        "expires_at": session["expires_at"],
    }


def test_the_event_takes_its_trace_from_traceparent(agent: Api) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    session = opened(agent, WHOLE, traceparent=parent)
    assert last_event(session["session_id"]).trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    session = opened(agent, WHOLE, traceparent=parent, x_trace_id="mine")
    assert last_event(session["session_id"]).trace_id == "mine"


def test_the_event_gets_a_trace_and_a_request_id_where_none_came(agent: Api) -> None:
    answer = agent.post("/sessions", WHOLE)
    event = last_event(answer.json()["session_id"])
    assert event.trace_id
    assert event.request_id == answer.headers["X-Request-Id"]


def test_a_session_lasts_as_long_as_it_is_told(agent: Api) -> None:
    for seconds in (60, 60.0, 604_800):
        assert lasts(opened(agent, {**WHOLE, "ttl_seconds": seconds})) == timedelta(seconds=seconds)


def test_refuses_any_other_time(agent: Api) -> None:
    others: list[object] = [59, 604_801, 0, -60, 60.5, 2**53, 1e300, "3600", True, [], {}]
    for seconds in others:
        assert_refused(agent.post("/sessions", {**WHOLE, "ttl_seconds": seconds}), "ttl_seconds")


def test_a_role_may_have_fifty_characters_of_any_script(operator: Api) -> None:
    for role in ("a" * 50, "ü" * 50, "𝔣" * 50, "quarter end"):
        assert opened(operator, {**WHOLE, "agent_role": role})["agent_role"] == role


def test_refuses_a_role_that_is_too_long_blank_or_no_text(operator: Api) -> None:
    roles: list[object] = ["a" * 51, "𝔣" * 51, "", " ", "\t\n", "\u00a0", 5, True, None, [], {}]
    for role in roles:
        assert_refused(operator.post("/sessions", {**WHOLE, "agent_role": role}), "agent_role")


def test_refuses_a_role_that_looks_like_another(operator: Api) -> None:
    for role in (" finance", "finance ", "fi\u200bnance", "finance\u00a0", "fin\tance"):
        assert_refused(operator.post("/sessions", {**WHOLE, "agent_role": role}), "agent_role")


def test_refuses_a_body_without_a_role(operator: Api) -> None:
    assert_refused(operator.post("/sessions", {"metadata": {}}), "agent_role")
    assert_refused(operator.post("/sessions"), "agent_role")


def test_refuses_a_body_that_is_no_object(agent: Api) -> None:
    for body in (b"[]", b"null", b'"finance"', b"5", b"false", b'[{"agent_role": "finance"}]'):
        answer = agent.send_raw("POST", "/sessions", body)
        assert answer.status_code == 400, body
        assert answer.json()["type"] == "/problems/invalid-request"
    assert not Session.objects.exists()


@pytest.mark.parametrize("letter", ["x", "ü", "€", "𝔣"])
def test_metadata_may_have_sixty_four_kibibytes_and_not_one_more(agent: Api, letter: str) -> None:
    room = 65_536 - len(b'{"a":""}')
    size = len(letter.encode())
    full = letter * (room // size) + "x" * (room % size)
    assert_refused(agent.post("/sessions", {**WHOLE, "metadata": {"a": full + "x"}}), "metadata")
    session = opened(agent, {**WHOLE, "metadata": {"a": full}})
    assert agent.get(path(session)).json()["metadata"] == {"a": full}


def test_refuses_metadata_that_is_no_object(agent: Api) -> None:
    others: list[object] = [[], "text", 5, True, [["quarter", "Q4"]]]
    for metadata in others:
        assert_refused(agent.post("/sessions", {**WHOLE, "metadata": metadata}), "metadata")


def test_names_every_field_that_is_wrong(agent: Api) -> None:
    answer = agent.post("/sessions", {"agent_role": "", "task_id": "x", "metadata": [], "ttl_seconds": "1"})
    assert_refused(answer, "agent_role", "task_id", "metadata", "ttl_seconds")
    assert all(error["message"] for error in answer.json()["errors"])


def test_refuses_a_query_parameter(agent: Api) -> None:
    assert_refused(agent.post("/sessions?dry_run=true", WHOLE), "dry_run")
    assert_refused(agent.post("/sessions?status", WHOLE), "status")
    assert agent.post("/sessions", WHOLE).status_code == 201


def test_points_to_a_task_that_the_caller_sees(agent: Api) -> None:
    task = task_for("finance", somebody("mia"))
    session = opened(agent, {**WHOLE, "task_id": str(task.id)})
    assert session["task_id"] == str(task.id)
    assert last_event(session["session_id"]).metadata["changes"]["task_id"] == str(task.id)


def test_takes_the_id_of_a_task_in_any_case_and_answers_it_in_lower(agent: Api) -> None:
    task = task_for("finance")
    assert opened(agent, {**WHOLE, "task_id": str(task.id).upper()})["task_id"] == str(task.id)


def test_points_to_a_task_that_the_caller_made_for_another_role(agent: Api) -> None:
    task = task_for("legal", somebody("alice"))
    assert opened(agent, {**WHOLE, "task_id": str(task.id)})["task_id"] == str(task.id)


def test_refuses_a_task_that_is_missing_unseen_or_of_another_tenant_in_the_same_words(agent: Api) -> None:
    mia = somebody("mia")
    unseen = task_for("legal", mia)
    abroad = task_for("finance", somebody("alice", tenant="other"))
    said = set()
    for pk in (UNKNOWN_ID, unseen.id, abroad.id):
        answer = agent.post("/sessions", {**WHOLE, "task_id": str(pk)})
        assert_refused(answer, "task_id")
        said.add(str(answer.json()["errors"]))
    assert len(said) == 1
    assert agent.post("/sessions", {**WHOLE, "task_id": str(task_for("finance", mia).id)}).status_code == 201


def test_refuses_the_id_of_a_task_that_is_no_uuid(agent: Api) -> None:
    others: list[object] = [*NO_UUIDS, "", "{" + UNKNOWN_ID + "}", 5, True, [], {}]
    said = {}
    for pk in others:
        answer = agent.post("/sessions", {**WHOLE, "task_id": pk})
        assert_refused(answer, "task_id")
        said[str(pk)] = answer.json()["errors"][0]["message"]
    assert {pk: message for pk, message in said.items() if "UUID" not in message} == {}
