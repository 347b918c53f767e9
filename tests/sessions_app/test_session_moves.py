"""Every move of a session's machine, legal and illegal, through PUT /sessions/{id}."""

from datetime import datetime
from typing import Any

import pytest

from sessions_app.models import Session
from sessions_app.models.recorded import moves
from tests.api import Api
from tests.sessions_app.session_calls import (
    LEGAL,
    STATES,
    TERMINAL,
    events_of,
    last_event,
    path,
    session_in,
    stored,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = {
    "active": "session.activated",
    "completed": "session.completed",
    "failed": "session.failed",
    "expired": "session.expired",
}
LEGAL_MOVES = [(state, to) for state in STATES for to in LEGAL[state]]
ILLEGAL_MOVES = [
    (state, to) for state in STATES for to in STATES if to not in LEGAL[state] and (state != to or state in TERMINAL)
]


def test_the_machine_has_the_moves_tested_here_and_no_other() -> None:
    assert moves(Session) == {state: tuple(targets) for state, targets in LEGAL.items()}
    assert len(LEGAL_MOVES) + len(ILLEGAL_MOVES) + len(["pending", "active"]) == len(STATES) ** 2


@pytest.mark.parametrize(("state", "to"), LEGAL_MOVES)
def test_moves(agent: Api, state: str, to: str) -> None:
    session = session_in(state)
    body = {"status": to, "reason": "because"}
    answer = agent.put(path(session), body, x_request_id="req-12345678", x_trace_id="trace-1")
    assert answer.status_code == 200, answer.content
    shown = answer.json()
    assert (shown["status"], shown["state"], shown["reason"]) == (to, to, "because")
    assert shown["allowed_transitions"] == LEGAL[to]
    assert shown["version"] == session.version + 1
    assert answer.headers["ETag"] == f'"{shown["version"]}"'
    assert stored(session.id)["status"] == to
    assert stored(session.id)["expires_at"] == session.expires_at


@pytest.mark.parametrize(("state", "to"), LEGAL_MOVES)
def test_a_move_is_one_event(agent: Api, state: str, to: str) -> None:
    session = session_in(state)
    before = events_of(session.id)
    body = {"status": to, "reason": "because"}
    answer = agent.put(path(session), body, x_request_id="req-12345678", x_trace_id="trace-1")
    *earlier, event = events_of(session.id)
    assert [one.id for one in earlier] == [one.id for one in before]
    assert (event.event_type, event.seq) == (EVENTS[to], session.version + 1)
    assert (event.from_status, event.to_status, event.reason) == (state, to, "because")
    assert (event.actor_issuer, event.actor_subject) == ("local", "alice")
    assert (event.request_id, event.trace_id, event.via) == ("req-12345678", "trace-1", "api")
    assert (event.role, event.tenant, event.cause) == ("finance", "default", None)
    assert event.metadata == {"changes": {}}
    assert event.timestamp == datetime.fromisoformat(answer.json()["updated_at"])
    assert bytes(event.prev_hash or b"") == bytes(earlier[-1].hash)
    assert bytes(stored(session.id)["audit_head"]) == bytes(event.hash)


@pytest.mark.parametrize(("state", "to"), LEGAL_MOVES)
def test_takes_the_state_in_any_case_and_needs_no_reason(agent: Api, state: str, to: str) -> None:
    for written in (to, to.upper(), to.title()):
        session = session_in(state)
        answer = agent.put(path(session), {"status": written})
        assert (answer.status_code, answer.json()["status"], answer.json()["reason"]) == (200, to, None)
        assert last_event(session.id).reason == ""


@pytest.mark.parametrize(("state", "to"), ILLEGAL_MOVES)
def test_refuses_to_move(agent: Api, state: str, to: str) -> None:
    session = session_in(state)
    bare: dict[str, Any] = {"status": to}
    for body in (bare, {**bare, "reason": "because", "metadata": {"a": 1}, "ttl_seconds": 600}):
        with unchanged(session.id):
            answer = agent.put(path(session), body)
        assert answer.status_code == 409, answer.content
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"] == "/problems/illegal-transition"
        assert (problem["from"], problem["to"], problem["allowed"]) == (state, to, LEGAL[state])


@pytest.mark.parametrize("state", ["pending", "active"])
def test_the_state_it_already_has_is_no_move(agent: Api, state: str) -> None:
    session = session_in(state)
    with unchanged(session.id):
        answer = agent.put(path(session), {"status": state, "reason": "because"})
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["version"]) == (state, session.version)


def test_a_session_goes_from_opening_to_end(agent: Api) -> None:
    session = agent.post("/sessions", {"agent_role": "finance"}).json()
    for to in ("active", "completed"):
        assert agent.put(path(session), {"status": to}).status_code == 200
    trail = [(event.seq, event.event_type) for event in events_of(session["session_id"])]
    assert trail == [(1, "session.created"), (2, "session.activated"), (3, "session.completed")]
