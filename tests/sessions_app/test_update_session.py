"""PUT /sessions/{id}: what it keeps, what it changes, what it refuses. The moves have a file of their own."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from audit_app.trail import instant
from sessions_app.models import Session
from tests.api import Api, errors
from tests.sessions_app.session_calls import (
    NO_UUIDS,
    TERMINAL,
    UNKNOWN_ID,
    events_of,
    last_event,
    overdue_session,
    path,
    session_in,
    somebody,
    stored,
    task_for,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)


def updated(caller: Api, session: Session, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = caller.put(path(session), body, **headers)
    assert answer.status_code == 200, answer.content
    shown: dict[str, Any] = answer.json()
    return shown


def refused(caller: Api, session: Session, body: object, status: int, slug: str, **headers: str) -> dict[str, Any]:
    with unchanged(session.id):
        answer = caller.put(path(session), body, **headers)
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"/problems/{slug}"
    return problem


def in_metadata(value: object) -> dict[str, object]:
    return {"metadata": {"a": value}}


# What it answers.


def test_answers_the_session_as_it_now_is(agent: Api) -> None:
    session = session_in("pending")
    answer = agent.put(path(session), {"status": "active", "metadata": {"a": 1}, "ttl_seconds": 600, "reason": "go"})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == '"2"'
    assert "Location" not in answer.headers
    assert answer.json() == agent.get(path(session)).json()
    assert answer.json() == {
        "session_id": str(session.id),
        "agent_role": "finance",
        "task_id": None,
        "status": "active",
        "state": "active",
        "metadata": {"a": 1},
        "created_at": instant(session.created_at),
        "updated_at": answer.json()["updated_at"],
        "expires_at": answer.json()["expires_at"],
        "created_by": "local|alice",
        "version": 2,
        "reason": "go",
        "allowed_transitions": ["completed", "failed", "expired"],
    }
    assert datetime.fromisoformat(answer.json()["updated_at"]) > session.updated_at


def test_takes_the_id_in_any_case(agent: Api) -> None:
    session = session_in("pending")
    answer = agent.put(f"/sessions/{str(session.id).upper()}", {"metadata": {}})
    assert answer.status_code == 200
    assert answer.json()["session_id"] == str(session.id)


# What absent and null keep, what a value changes.


def test_metadata_is_replaced_as_a_whole(agent: Api) -> None:
    session = session_in("active")
    assert updated(agent, session, {"metadata": {"other": {"deep": [1]}}})["metadata"] == {"other": {"deep": [1]}}
    assert updated(agent, session, {"metadata": {}})["metadata"] == {}


def test_what_is_absent_or_null_stays_as_it_is(agent: Api) -> None:
    session = session_in("pending")
    task = task_for("finance")
    before = updated(agent, session, {"task_id": str(task.id), "metadata": {"a": 1}, "ttl_seconds": 600})
    nothing = {"task_id": None, "metadata": None, "ttl_seconds": None, "reason": None}
    after = updated(agent, session, {"status": "active", **nothing})
    moved = ("status", "state", "version", "updated_at", "allowed_transitions")
    assert {name: after[name] for name in after if name not in moved} == {
        name: before[name] for name in before if name not in moved
    }
    assert after["status"] == "active"
    assert updated(agent, session, {"status": None, "metadata": {}})["status"] == "active"


def test_time_is_counted_anew_from_now(agent: Api) -> None:
    session = session_in("active")
    shown = updated(agent, session, {"ttl_seconds": 600})
    now = datetime.fromisoformat(shown["updated_at"])
    assert datetime.fromisoformat(shown["expires_at"]) == now + timedelta(seconds=600)
    assert now > session.updated_at
    later = updated(agent, session, {"ttl_seconds": 600})
    assert later["version"] == shown["version"] + 1
    assert later["expires_at"] > shown["expires_at"]


def test_a_session_lasts_as_long_as_it_is_told(agent: Api) -> None:
    session = session_in("pending")
    for seconds in (60, 604_800):
        shown = updated(agent, session, {"ttl_seconds": seconds})
        lasting = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["updated_at"])
        assert lasting == timedelta(seconds=seconds)


def test_points_to_another_task(agent: Api) -> None:
    session = session_in("pending")
    first, second = task_for("finance", somebody("mia")), task_for("finance", somebody("mia"))
    assert updated(agent, session, {"task_id": str(first.id)})["task_id"] == str(first.id)
    assert updated(agent, session, {"task_id": str(second.id).upper()})["task_id"] == str(second.id)
    assert last_event(session.id).metadata == {"changes": {"task_id": str(second.id)}}


def test_refuses_members_that_it_does_not_know(agent: Api) -> None:
    session = session_in("pending")
    foreign = {"session_id": UNKNOWN_ID, "agent_role": "legal", "state": "active", "version": 9, "x": 1}
    with unchanged(session.id):
        for send in (agent.put, partial(agent.send, "PATCH")):
            answer = send(path(session), foreign)
            assert (answer.status_code, list(errors(answer))) == (400, list(foreign))


# One change, one event.


@pytest.mark.parametrize(
    "body", [{"metadata": {"a": 1}}, {"ttl_seconds": 600}, {"status": "pending", "metadata": {"a": 1}}]
)
def test_a_change_without_a_move_is_one_event_and_one_version(agent: Api, body: dict[str, Any]) -> None:
    session = session_in("pending")
    shown = updated(agent, session, body, x_request_id="req-12345678", x_trace_id="trace-1")
    first, event = events_of(session.id)
    assert shown["version"] == event.seq == 2
    assert event.event_type == "session.changed"
    assert (event.from_status, event.to_status) == ("pending", "pending")
    assert (event.request_id, event.trace_id, event.ip) == ("req-12345678", "trace-1", "127.0.0.1")
    assert (event.actor_issuer, event.actor_subject, event.actor_kind) == ("local", "alice", "person")
    assert bytes(event.prev_hash or b"") == bytes(first.hash)
    assert bytes(stored(session.id)["audit_head"]) == bytes(event.hash)
    assert instant(event.timestamp) == shown["updated_at"]


def test_an_event_tells_what_changed_and_nothing_else(agent: Api) -> None:
    session = session_in("pending")
    updated(agent, session, {"metadata": {"a": 1}})
    assert last_event(session.id).metadata == {"changes": {"metadata": {"a": 1}}}
    shown = updated(agent, session, {"metadata": {"a": 1}, "ttl_seconds": 600})
    assert last_event(session.id).metadata == {"changes": {"expires_at": shown["expires_at"]}}
    updated(agent, session, {"status": "active"})
    assert last_event(session.id).metadata == {"changes": {}}


def test_a_move_with_changes_is_one_event(agent: Api) -> None:
    session, task = session_in("pending"), task_for("finance")
    body = {"status": "active", "metadata": {"a": 1}, "task_id": str(task.id), "ttl_seconds": 600, "reason": "go"}
    shown = updated(agent, session, body)
    event = last_event(session.id)
    assert len(events_of(session.id)) == shown["version"] == 2
    assert (event.event_type, event.from_status, event.to_status) == ("session.activated", "pending", "active")
    assert event.reason == "go"
    assert event.metadata["changes"] == {
        "metadata": {"a": 1},
        "task_id": str(task.id),
        "expires_at": shown["expires_at"],
    }


# A reason goes with a move.


def test_a_reason_goes_with_a_move(agent: Api) -> None:
    session = session_in("active")
    assert updated(agent, session, {"status": "failed", "reason": "no budget"})["reason"] == "no budget"
    assert last_event(session.id).reason == "no budget"


def test_a_reason_alone_changes_nothing(agent: Api) -> None:
    session = session_in("active")
    for body in ({"reason": "so"}, {"reason": "so", "status": "active"}):
        with unchanged(session.id):
            assert updated(agent, session, body)["reason"] is None


def test_a_change_without_a_move_leaves_the_reason(agent: Api) -> None:
    session = session_in("pending")
    updated(agent, session, {"status": "active", "reason": "go"})
    assert updated(agent, session, {"metadata": {"a": 1}, "reason": "tidier"})["reason"] == "go"


def test_a_reason_is_that_of_the_last_move(agent: Api) -> None:
    session = session_in("pending")
    updated(agent, session, {"status": "active", "reason": "go"})
    assert updated(agent, session, {"status": "completed"})["reason"] is None


@pytest.mark.parametrize("letter", ["x", "𝔣"])
def test_a_reason_has_four_thousand_characters_at_most(agent: Api, letter: str) -> None:
    session = session_in("pending")
    problem = refused(agent, session, {"status": "active", "reason": letter * 4001}, 400, "invalid-request")
    assert [error["field"] for error in problem["errors"]] == ["reason"]
    assert updated(agent, session, {"status": "active", "reason": letter * 4000})["reason"] == letter * 4000


# What changes nothing leaves no event.


@pytest.mark.parametrize("state", ["pending", "active"])
def test_a_write_that_changes_nothing_leaves_no_event_and_no_version(agent: Api, state: str) -> None:
    session = session_in(state)
    task = task_for("finance")
    before = updated(agent, session, {"task_id": str(task.id)})
    same = {"status": state, "task_id": str(task.id), "metadata": {"quarter": "Q4"}, "reason": "so"}
    nulls = {"status": None, "task_id": None, "metadata": None, "ttl_seconds": None, "reason": None}
    bodies: list[dict[str, Any]] = [{}, {"status": state.upper()}, {"metadata": {"quarter": "Q4"}}, same, nulls]
    for body in bodies:
        with unchanged(session.id):
            answer = agent.put(path(session), body)
        assert answer.status_code == 200, answer.content
        assert answer.json() == before
        assert answer.headers["ETag"] == f'"{before["version"]}"'


def test_an_empty_body_changes_nothing(agent: Api) -> None:
    session = session_in("pending")
    with unchanged(session.id):
        assert agent.put(path(session)).status_code == 200
        assert agent.send_raw("PUT", path(session), b"", content_type="").status_code == 200


def test_the_order_of_keys_is_no_change(agent: Api) -> None:
    session = session_in("pending")
    updated(agent, session, {"metadata": {"a": {"x": 1, "y": 2}, "b": 2}})
    with unchanged(session.id):
        updated(agent, session, {"metadata": {"b": 2, "a": {"y": 2, "x": 1}}})


@pytest.mark.parametrize(
    ("old", "new"),
    [(1, True), (True, 1), (0, False), (1, "1"), (None, False), ([1, 2], [2, 1]), ({}, []), ([True], [1]), ("a", "A")],
)
def test_values_that_only_look_alike_are_a_change(agent: Api, old: object, new: object) -> None:
    session = session_in("pending")
    before = updated(agent, session, in_metadata(old))
    after = updated(agent, session, in_metadata(new))
    assert after["version"] == before["version"] + 1
    kept = agent.get(path(session)).json()["metadata"]["a"]
    assert (kept, type(kept)) == (new, type(new))
    with unchanged(session.id):
        updated(agent, session, in_metadata(new))


# The database keeps numbers as decimals, and hands a large one without a fraction back as a whole number.
@pytest.mark.parametrize("number", [0.1, 1e-7, 5e-324, 2**53, 1e15, 1e16, 1e300, -0.0])
def test_the_same_number_again_is_no_change(agent: Api, number: float) -> None:
    session = session_in("pending")
    updated(agent, session, in_metadata(number))
    with unchanged(session.id):
        updated(agent, session, in_metadata(number))


@pytest.mark.parametrize("number", [0.1, 1e-7, 2**53, 1e15, 1e16, 1e300])
def test_metadata_can_be_sent_back_as_it_was_answered(agent: Api, number: float) -> None:
    session = session_in("pending")
    updated(agent, session, in_metadata(number))
    shown = agent.get(path(session)).json()
    assert float(shown["metadata"]["a"]) == number
    with unchanged(session.id):
        updated(agent, session, {"metadata": shown["metadata"]})


# Bodies that are refused.


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("status", ["archived", "", " active", "deleted", 1, True, [], {}]),
        ("task_id", [*NO_UUIDS, "", 1, True, [], {}]),
        ("metadata", [[], "text", 1, True]),
        ("ttl_seconds", [59, 604_801, 0, -1, 60.5, 2**53, "600", True, [], {}]),
        ("reason", [1, True, [], {}]),
    ],
)
def test_refuses_a_field_that_is_wrong_and_changes_nothing(agent: Api, field: str, values: list[object]) -> None:
    session = session_in("active")
    whole: dict[str, object] = {"status": "completed", "metadata": {"a": 1}, "reason": "done", "ttl_seconds": 600}
    for value in values:
        problem = refused(agent, session, {**whole, field: value}, 400, "invalid-request")
        assert [error["field"] for error in problem["errors"]] == [field], value
    assert updated(agent, session, whole)["status"] == "completed"


def test_metadata_may_have_sixty_four_kibibytes_and_not_one_more(agent: Api) -> None:
    session = session_in("pending")
    full = "x" * (65_536 - len(b'{"a":""}'))
    refused(agent, session, in_metadata(full + "x"), 400, "invalid-request")
    assert updated(agent, session, in_metadata(full))["metadata"] == {"a": full}


def test_refuses_a_body_that_is_no_object(agent: Api) -> None:
    session = session_in("pending")
    for body in (b"[]", b"null", b'"active"', b"1", b"false"):
        with unchanged(session.id):
            answer = agent.send_raw("PUT", path(session), body)
        assert answer.status_code == 400, body
        assert answer.json()["type"] == "/problems/invalid-request"


def test_refuses_a_query_parameter(agent: Api) -> None:
    session = session_in("pending")
    with unchanged(session.id):
        answer = agent.put(f"{path(session)}?force=true", {"status": "active"})
    assert answer.status_code == 400
    assert list(errors(answer)) == ["force"]
    assert updated(agent, session, {"status": "active"})["status"] == "active"


def test_refuses_a_task_that_is_missing_unseen_or_of_another_tenant_in_the_same_words(agent: Api) -> None:
    session = session_in("active")
    mia = somebody("mia")
    unseen = task_for("legal", mia)
    abroad = task_for("finance", somebody("alice", tenant="other"))
    said = set()
    for pk in (UNKNOWN_ID, unseen.id, abroad.id):
        problem = refused(agent, session, {"status": "completed", "task_id": str(pk)}, 400, "invalid-request")
        said.add(str(problem["errors"]))
    assert len(said) == 1
    seen = task_for("finance", mia)
    assert updated(agent, session, {"status": "completed", "task_id": str(seen.id)})["task_id"] == str(seen.id)


def test_there_is_no_session_that_was_never_opened(agent: Api) -> None:
    answer = agent.put(f"/sessions/{UNKNOWN_ID}", {"status": "active"})
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"


def test_a_wrong_body_is_told_before_a_missing_session(agent: Api) -> None:
    assert agent.put(f"/sessions/{UNKNOWN_ID}", {"status": "archived"}).status_code == 400


# If-Match.


@pytest.mark.parametrize("tags", ['"2"', "*", ' "2" ', '"1", "2"', '"9","2"', 'W/"2", "2"', '"x", "2"'])
def test_writes_where_if_match_names_the_version_it_has(agent: Api, tags: str) -> None:
    session = session_in("active")
    assert updated(agent, session, {"status": "completed"}, if_match=tags)["version"] == 3


@pytest.mark.parametrize("tags", ['"1"', '"3"', '"1", "3"', 'W/"2"', '"x"', '""', '"02"', '"2.0"', f'"{"9" * 40}"'])
def test_refuses_to_write_where_if_match_names_others(agent: Api, tags: str) -> None:
    session = session_in("active")
    for body in ({"status": "completed"}, {"metadata": {"a": 1}}, {"status": "pending"}, {}):
        problem = refused(agent, session, body, 412, "precondition-failed", if_match=tags)
        assert problem["current_version"] == 2


def test_refuses_an_if_match_that_is_malformed(agent: Api) -> None:
    session = session_in("active")
    for tags in ("2", '"2', '2"', "'2'", '*, "2"', '"2" "3"', 'w/"2"', '"2"x', "W/2", '"2";"3"', '"1", 2'):
        problem = refused(agent, session, {"status": "completed"}, 400, "invalid-request", if_match=tags)
        assert [error["field"] for error in problem["errors"]] == ["If-Match"], tags
    assert updated(agent, session, {"status": "completed"}, if_match='"2"')["version"] == 3


def test_the_version_that_a_write_answers_is_the_one_to_match_next(agent: Api) -> None:
    session = session_in("pending")
    tag = agent.get(path(session)).headers["ETag"]
    for state in ("active", "completed"):
        answer = agent.put(path(session), {"status": state}, if_match=tag)
        assert answer.status_code == 200
        refused(agent, session, {}, 412, "precondition-failed", if_match=tag)
        tag = answer.headers["ETag"]


def test_if_match_any_does_not_make_a_session_exist(agent: Api) -> None:
    assert agent.put(f"/sessions/{UNKNOWN_ID}", {}, if_match="*").status_code == 404


# Ended, and past its time.

WRITES: list[dict[str, Any]] = [
    {},
    {"status": None},
    {"metadata": {"quarter": "Q4"}},
    {"metadata": {"a": 1}},
    {"ttl_seconds": 600},
    {"reason": "so"},
]


@pytest.mark.parametrize("state", TERMINAL)
def test_refuses_any_write_to_an_ended_session_even_one_that_would_change_nothing(agent: Api, state: str) -> None:
    session = session_in(state)
    task = task_for("finance")
    for body in (*WRITES, {"task_id": str(task.id)}):
        problem = refused(agent, session, body, 409, "illegal-transition")
        assert (problem["from"], problem["to"], problem["allowed"]) == (state, None, [])


@pytest.mark.parametrize("state", ["pending", "active"])
def test_past_its_time_refuses_any_write_but_expiry(agent: Api, state: str) -> None:
    session = overdue_session(state)
    moves: list[dict[str, Any]] = [{"status": to} for to in ("pending", "active", "completed", "failed")]
    both: list[dict[str, Any]] = [{"status": "expired", "ttl_seconds": 600}, {"status": "expired", "metadata": {}}]
    for body in (*WRITES, *moves, *both):
        problem = refused(agent, session, body, 409, "session-expired")
        assert (problem["from"], problem["to"]) == (state, body.get("status"))
        assert problem["allowed"] == ["expired"]


@pytest.mark.parametrize("state", ["pending", "active"])
def test_past_its_time_it_can_still_be_expired(agent: Api, state: str) -> None:
    session = overdue_session(state)
    shown = updated(agent, session, {"status": "Expired", "reason": "time is up"})
    assert (shown["status"], shown["reason"], shown["allowed_transitions"]) == ("expired", "time is up", [])
    event = last_event(session.id)
    assert (event.event_type, event.from_status, event.to_status) == ("session.expired", state, "expired")
    assert event.seq == shown["version"] == session.version + 1


@pytest.mark.parametrize("state", TERMINAL)
def test_past_its_time_wins_over_ended(agent: Api, state: str) -> None:
    session = overdue_session(state)
    for body in (*WRITES, {"status": "active"}, {"status": "expired"}):
        problem = refused(agent, session, body, 409, "session-expired")
        assert (problem["from"], problem["allowed"]) == (state, [])


def test_a_session_can_be_given_more_time_only_while_it_has_some(agent: Api) -> None:
    refused(agent, overdue_session("active"), {"ttl_seconds": 600}, 409, "session-expired")
    assert updated(agent, session_in("active"), {"ttl_seconds": 600})["version"] == 3
