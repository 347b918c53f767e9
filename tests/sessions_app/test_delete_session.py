"""DELETE /sessions/{id}: operators, terminal sessions, and a trail that stays."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sessions_app.models import Session
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import (
    NO_UUIDS,
    TERMINAL,
    UNKNOWN_ID,
    left_by,
    overdue_session,
    path,
    session_in,
    somebody,
    task_for,
    unchanged,
)
from tests.statements import first_words
from tests.work import GENESIS, chain, hash_of

pytestmark = pytest.mark.django_db(transaction=True)


REASON = "?reason=It+is+old."


def delete(caller: Api, session: Session, **headers: str) -> Any:
    return caller.send("DELETE", path(session) + REASON, **headers)


def refused(caller: Api, session: Session, status: int, slug: str, **headers: str) -> dict[str, Any]:
    with left_by(status, session.id, "delete"):
        answer = delete(caller, session, **headers)
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"/problems/{slug}"
    return problem


def is_there(session: Session) -> bool:
    return Session.objects.filter(pk=session.pk).exists()


@pytest.mark.parametrize("state", TERMINAL)
def test_deletes_what_is_final(operator: Api, agent: Api, state: str) -> None:
    session, beside = session_in(state), session_in(state)
    answer = delete(operator, session)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "ETag" not in answer.headers
    assert not is_there(session)
    assert is_there(beside)
    assert operator.get(path(session)).status_code == agent.get(path(session)).status_code == 404
    assert [found["session_id"] for found in operator.get("/sessions").json()["sessions"]] == [str(beside.id)]


@pytest.mark.parametrize("state", ["pending", "active"])
def test_refuses_what_is_not_final(operator: Api, state: str) -> None:
    session = session_in(state)
    problem = refused(operator, session, 409, "illegal-transition")
    allowed = {"pending": ["active", "expired"], "active": ["completed", "failed", "expired"]}
    assert (problem["from"], problem["to"], problem["allowed"]) == (state, "deleted", allowed[state])


def test_past_its_time_a_session_is_expired_before_it_is_deleted(operator: Api) -> None:
    session = overdue_session("active")
    with unchanged(session.id):
        answer = delete(operator, session)
    assert (answer.status_code, answer.json()["allowed"]) == (409, ["expired"])
    assert operator.put(path(session), {"status": "expired"}).status_code == 200
    assert delete(operator, session).status_code == 204


@pytest.mark.parametrize("state", TERMINAL)
def test_a_final_session_past_its_time_is_deleted_like_any(operator: Api, state: str) -> None:
    assert delete(operator, overdue_session(state)).status_code == 204


def test_its_task_stays(operator: Api, agent: Api) -> None:
    session, task = session_in("active"), task_for("finance")
    agent.put(path(session), {"task_id": str(task.id), "status": "completed"})
    assert delete(operator, session).status_code == 204
    assert type(task).objects.filter(pk=task.pk).exists()


# The trail.


@pytest.mark.parametrize(("state", "words"), [("expired", ["expired"]), ("completed", ["activated", "completed"])])
def test_the_trail_stays_and_ends_with_its_deletion(operator: Api, state: str, words: list[str]) -> None:
    session = session_in(state)
    delete(operator, session, x_request_id="request-1", x_trace_id="trace-1")
    links = chain(session)
    expected = [f"session.{word}" for word in ("created", *words, "deleted")]
    assert [event["event_type"] for event in links] == expected
    last = links[-1]
    assert (last["seq"], last["from_status"], last["to_status"]) == (session.version + 1, state, None)
    assert (last["actor_issuer"], last["actor_subject"], last["tenant"]) == ("local", "olga", "default")
    assert (last["via"], last["request_id"], last["trace_id"]) == ("api", "request-1", "trace-1")
    assert (last["role"], last["reason"]) == ("finance", "It is old.")


def test_the_chain_can_still_be_verified(operator: Api) -> None:
    session = session_in("failed")
    delete(operator, session)
    before = GENESIS
    for seq, event in enumerate(chain(session), start=1):
        assert (event["seq"], bytes(event["prev_hash"])) == (seq, before)
        assert bytes(event["hash"]) == hash_of(before, event["body"])
        before = bytes(event["hash"])
    assert seq == session.version + 1


def test_is_recorded_by_the_clock_of_the_database(operator: Api) -> None:
    session = session_in("completed")
    before = _database_clock()
    delete(operator, session)
    assert before < chain(session)[-1]["timestamp"] < _database_clock()


def _database_clock() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def test_is_done_once(operator: Api) -> None:
    session = session_in("completed")
    assert [delete(operator, session).status_code for _ in range(2)] == [204, 404]
    assert [event["event_type"] for event in chain(session)].count("session.deleted") == 1


def test_takes_a_read_two_locks_a_delete_and_an_event(operator: Api) -> None:
    """The second lock is that of the session's approvals, which go with it."""
    session = session_in("completed")
    with CaptureQueriesContext(connection) as queries:
        assert delete(operator, session).status_code == 204
    assert first_words(queries) == ["BEGIN", *["SELECT"] * 3, "DELETE", "INSERT", "COMMIT"]


# Who may.


def test_only_operators_delete(operator: Api) -> None:
    session = session_in("completed")
    for bearer in (
        {"subject": "alice"},
        {"subject": "zoe", "agent_roles": "finance"},
        {"subject": "zoe", "roles": "approver"},
        {"subject": "zoe", "roles": "auditor", "agent_roles": ""},
        {"subject": "alice", "roles": "agent,approver,auditor"},
    ):
        refused(Api(token(**bearer)), session, 403, "forbidden")
    for bearer in (
        {"subject": "zoe", "agent_roles": "legal"},
        {"subject": "zoe", "roles": "approver", "agent_roles": "legal"},
        {"subject": "olga", "roles": "operator", "tenant": "other"},
    ):
        refused(Api(token(**bearer)), session, 404, "not-found")
    assert delete(Api(None), session).status_code == 401
    assert delete(Api(token("zoe", roles="agent,operator")), session).status_code == 204


def test_rights_are_judged_before_the_state(agent: Api) -> None:
    for state in ("pending", "completed"):
        refused(agent, session_in(state), 403, "forbidden")
        refused(agent, session_in(state), 403, "forbidden", if_match='"99"')


def test_unseen_and_missing_look_the_same() -> None:
    session = session_in("completed", somebody("alice", tenant="other"))
    operator = Api(token("olga", roles="operator", agent_roles=""))
    unseen, missing = (
        operator.send("DELETE", f"/sessions/{pk}{REASON}", x_request_id="request-1") for pk in (session.id, UNKNOWN_ID)
    )
    assert unseen.status_code == missing.status_code == 404
    assert unseen.content.decode().replace(str(session.id), "ID") == missing.content.decode().replace(UNKNOWN_ID, "ID")


# What comes with the request.


@pytest.mark.parametrize("query", ["", "?reason=", "?reason=+%20", f"?reason={'x' * 4001}"])
def test_needs_a_reason(operator: Api, query: str) -> None:
    session = session_in("completed")
    with unchanged(session.id):
        answer = operator.send("DELETE", path(session) + query)
    assert (answer.status_code, list(errors(answer))) == (400, ["reason"])


def test_takes_no_other_parameter_than_the_reason(operator: Api) -> None:
    session = session_in("completed")
    with unchanged(session.id):
        answer = operator.send("DELETE", f"{path(session)}{REASON}&force=true")
    assert (answer.status_code, list(errors(answer))) == (400, ["force"])


def test_deletes_only_the_version_that_was_read(operator: Api) -> None:
    session = session_in("completed")
    problem = refused(operator, session, 412, "precondition-failed", if_match='"2"')
    assert problem["current_version"] == 3
    refused(operator, session, 400, "invalid-request", if_match="3")
    assert delete(operator, session, if_match='"3"').status_code == 204


def test_if_match_may_name_any_row_there_is(operator: Api) -> None:
    assert delete(operator, session_in("failed"), if_match="*").status_code == 204
    assert delete(operator, session_in("failed"), if_match='"1", "3"').status_code == 204


def test_a_version_that_moved_on_is_told_before_the_state(operator: Api) -> None:
    refused(operator, session_in("active"), 412, "precondition-failed", if_match='"1"')


def test_takes_no_body(operator: Api) -> None:
    session = session_in("completed")
    for body in (b'{"reason": "old"}', b"[1]", b'"x"', b"1", b"true", b"[]", b"0", b"false", b"null", b'""', b"{}"):
        with unchanged(session.id):
            answer = operator.send_raw("DELETE", path(session) + REASON, body)
        assert answer.status_code == 400, body
        assert answer.json()["type"] == "/problems/invalid-request", body
    assert operator.send_raw("DELETE", path(session) + REASON, b"", "").status_code == 204


def test_refuses_an_id_that_is_none(operator: Api) -> None:
    for text in NO_UUIDS:
        answer = operator.send("DELETE", f"/sessions/{text}{REASON}")
        assert (answer.status_code, list(errors(answer))) == (400, ["id"]), text


def test_takes_the_id_in_any_case(operator: Api) -> None:
    session = session_in("completed")
    assert operator.send("DELETE", f"/sessions/{str(session.id).upper()}{REASON}").status_code == 204
