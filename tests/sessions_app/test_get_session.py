"""GET /sessions/{id}"""

from typing import Any
from urllib.parse import quote

import pytest

from tests.api import Api, errors
from tests.sessions_app.session_calls import (
    LEGAL,
    NO_UUIDS,
    STATES,
    UNKNOWN_ID,
    overdue_session,
    path,
    session_in,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_answers_the_session_as_it_was_opened(agent: Api) -> None:
    opened = agent.post("/sessions", {"agent_role": "finance", "metadata": {"quarter": "Q4", "drafts": [1, 2.5]}})
    answer = agent.get(path(opened.json()))
    assert answer.status_code == 200
    assert answer.json() == opened.json()
    assert list(answer.json()) == [
        "session_id",
        "agent_role",
        "task_id",
        "status",
        "state",
        "metadata",
        "created_at",
        "updated_at",
        "expires_at",
        "created_by",
        "version",
        "reason",
        "allowed_transitions",
    ]


@pytest.mark.parametrize("state", STATES)
def test_says_where_the_session_is_and_where_it_may_go(agent: Api, state: str) -> None:
    session = session_in(state)
    answer = agent.get(path(session))
    assert (answer.json()["status"], answer.json()["state"]) == (state, state)
    assert answer.json()["allowed_transitions"] == LEGAL[state]
    assert answer.json()["version"] == session.version
    assert answer.headers["ETag"] == f'"{session.version}"'


@pytest.mark.parametrize("state", ["pending", "active"])
def test_past_its_time_it_shows_its_stored_status_and_nothing_but_expiry(agent: Api, state: str) -> None:
    session = overdue_session(state)
    with unchanged(session.id):
        answer = agent.get(path(session))
    assert (answer.json()["status"], answer.json()["state"]) == (state, state)
    assert answer.json()["allowed_transitions"] == ["expired"]


@pytest.mark.parametrize("state", ["completed", "failed", "expired"])
def test_past_its_time_an_ended_session_goes_nowhere(agent: Api, state: str) -> None:
    answer = agent.get(path(overdue_session(state)))
    assert (answer.json()["status"], answer.json()["allowed_transitions"]) == (state, [])


def test_takes_the_id_in_any_case(agent: Api) -> None:
    session = session_in("pending")
    answer = agent.get(f"/sessions/{str(session.id).upper()}")
    assert answer.status_code == 200
    assert answer.json()["session_id"] == str(session.id)


@pytest.mark.parametrize("pk", NO_UUIDS)
def test_refuses_an_id_that_is_no_uuid(agent: Api, pk: str) -> None:
    for method in ("GET", "PUT"):
        answer = agent.send(method, f"/sessions/{quote(pk)}")
        assert answer.status_code == 400, answer.content
        assert list(errors(answer)) == ["id"]


def test_refuses_a_query_parameter(agent: Api) -> None:
    session = session_in("pending")
    answer = agent.get(f"{path(session)}?include=task")
    assert answer.status_code == 400
    assert list(errors(answer)) == ["include"]
    assert agent.get(path(session)).status_code == 200


def test_there_is_no_session_that_was_never_opened(agent: Api) -> None:
    answer = agent.get(f"/sessions/{UNKNOWN_ID}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_is_not_sent_again_to_a_caller_who_has_this_version(agent: Api) -> None:
    session = session_in("active")
    for tags in ('"2"', 'W/"2"', "*", '"1", "2"', '"x",W/"2" , "9"'):
        answer = agent.get(path(session), if_none_match=tags)
        assert answer.status_code == 304, tags
        assert answer.content == b""
        assert answer.headers["ETag"] == '"2"'


def test_is_sent_to_a_caller_who_has_another_version(agent: Api) -> None:
    session = session_in("active")
    for tags in ('"1"', '"3"', '"1", "3"', '"02"', '"x"', '""'):
        answer = agent.get(path(session), if_none_match=tags)
        assert answer.status_code == 200, tags
        assert answer.json()["version"] == 2


@pytest.mark.parametrize("tags", ['"1"', "*"])
def test_is_sent_again_once_its_time_has_passed(agent: Api, tags: str) -> None:
    assert agent.get(path(session_in("pending")), if_none_match=tags).status_code == 304
    answer = agent.get(path(overdue_session("pending")), if_none_match=tags)
    assert answer.status_code == 200
    assert answer.json()["allowed_transitions"] == ["expired"]


# RFC 9110, section 15.4.5: a 304 carries the fields that say how the 200 is cached. Section 8.6: its Content-Length,
# where it has one, is that of the 200.
def test_not_modified_says_of_caching_what_the_session_itself_says(agent: Api) -> None:
    session = session_in("pending")
    whole, not_modified = agent.get(path(session)), agent.get(path(session), if_none_match='"1"')
    assert not_modified.headers["Cache-Control"] == whole.headers["Cache-Control"]
    assert "private" in whole.headers["Cache-Control"]


def test_not_modified_claims_no_length_of_its_own(agent: Api) -> None:
    answer = agent.get(path(session_in("pending")), if_none_match='"1"')
    assert "Content-Length" not in answer.headers


def test_a_missing_session_is_404_whatever_the_caller_has(agent: Api) -> None:
    assert agent.get(f"/sessions/{UNKNOWN_ID}", if_none_match="*").status_code == 404


def test_head_answers_as_get_does(agent: Api) -> None:
    session = session_in("pending")
    whole: Any = agent.get(path(session))
    head = agent.send("HEAD", path(session))
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["ETag"] == '"1"'
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
