"""GET /approvals/{id}"""

import time
from concurrent.futures import Future
from typing import Any

import pytest

from tests.api import Api, errors
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import (
    ACTION,
    PAST,
    SETTLED,
    SHORT,
    agent_for,
    agree,
    ask,
    consume,
    digest,
    expire,
    manager,
    nothing_moves,
    problem_of,
    where,
)
from tests.sessions_app.session_calls import NO_UUIDS, UNKNOWN_ID
from tests.work import in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)

MEMBERS = [
    "approval_id",
    "kind",
    "task_id",
    "session_id",
    "approver_role",
    "status",
    "version",
    "reason",
    "action",
    "action_digest",
    "required_approvals",
    "decisions",
    "requested_by",
    "on_behalf_of",
    "expires_at",
    "decision_at",
    "use_within_seconds",
    "approved_until",
    "consumed_at",
    "reopens",
    "replaces",
    "earlier",
    "created_at",
    "allowed_transitions",
]


def test_answers_the_approval(agent: Api) -> None:
    approval = consume(agree(ask(action=ACTION, reason="Above the limit."), comments="Checked."))
    answer = agent.get(where(approval))
    assert answer.status_code == 200
    said = answer.json()
    assert list(said) == MEMBERS
    assert (said["approval_id"], said["task_id"]) == (str(approval.pk), str(approval.task_id))
    assert (said["reason"], said["action"], said["action_digest"]) == (
        "Above the limit.",
        ACTION,
        digest(approval),
    )
    members = ["decider", "decision", "comments", "decided_at", "set_aside_at", "set_aside_reason"]
    assert list(said["decisions"][0]) == members
    assert said["consumed_at"] >= said["decision_at"] == said["decisions"][0]["decided_at"]
    assert answer.headers["ETag"] == '"3"'
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_says_for_whom_it_was_asked(operator: Api) -> None:
    said = operator.get(where(ask(by=agent_for("anna")))).json()
    assert (said["requested_by"], said["on_behalf_of"]) == ("local|bot", "local|anna")


@pytest.mark.parametrize("state", SETTLED)
def test_what_is_settled_goes_nowhere(agent: Api, state: str) -> None:
    said = agent.get(where(SETTLED[state]())).json()
    assert (said["status"], said["allowed_transitions"]) == (state, [])
    assert (said["decision_at"] is None) == (state in ("expired", "cancelled"))


def test_past_its_time_it_shows_its_stored_status_and_nothing_but_expiry(agent: Api) -> None:
    approval = ask(lasting=PAST)
    with nothing_moves():
        said = agent.get(where(approval)).json()
    assert (said["status"], said["allowed_transitions"]) == ("pending", ["expired"])


def test_takes_the_id_in_any_case_with_its_noun_or_without(agent: Api) -> None:
    pk = str(ask().pk)
    for text in (pk, pk.upper(), f"approval-{pk}", f"approval-{pk.upper()}"):
        assert agent.get(f"/approvals/{text}").json()["approval_id"] == pk


@pytest.mark.parametrize("pk", [NO_UUIDS[0], NO_UUIDS[3], "task-" + UNKNOWN_ID])
def test_refuses_an_id_that_is_no_uuid(agent: Api, pk: str) -> None:
    answer = agent.get(f"/approvals/{pk}")
    assert (answer.status_code, list(errors(answer))) == (400, ["id"])


def test_there_is_no_approval_that_was_never_asked(agent: Api) -> None:
    problem_of(agent.get(f"/approvals/{UNKNOWN_ID}"), 404, "not-found")


def test_head_answers_as_get_does(agent: Api) -> None:
    approval = ask()
    head = agent.send("HEAD", where(approval))
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", '"1"')


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_is_neither_changed_nor_deleted_under_its_path(operator: Api, method: str) -> None:
    approval = ask()
    with nothing_moves():
        answer = operator.send(method, where(approval), {"status": "approved"})
    problem_of(answer, 405, "method-not-allowed")


# What the caller has already.


def test_is_not_sent_again_to_a_caller_who_has_this_version(agent: Api) -> None:
    approval = agree(ask(required_approvals=2))
    for tags in ('"2"', 'W/"2"', "*", '"1", "2"'):
        answer = agent.get(where(approval), if_none_match=tags)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"2"'), tags
    assert agent.get(where(approval), if_none_match='"1"').status_code == 200


@pytest.mark.parametrize("tags", ['"1"', "*"])
def test_is_sent_again_once_its_time_has_passed(agent: Api, tags: str) -> None:
    approval = ask(lasting=SHORT)
    time.sleep(SHORT.total_seconds())
    answer = agent.get(where(approval), if_none_match=tags)
    assert (answer.status_code, answer.json()["allowed_transitions"]) == (200, ["expired"])
    answer = agent.get(where(expire(approval)), if_none_match='"2"')
    assert answer.status_code == 304


def test_what_is_settled_is_not_sent_again_even_past_its_time(agent: Api) -> None:
    approval = agree(ask(lasting=SHORT))
    time.sleep(SHORT.total_seconds())
    assert agent.get(where(approval), if_none_match='"2"').status_code == 304


# Waiting.


def waiting(caller: Api, path: str, **headers: str) -> "Future[Any]":
    """A GET that has begun to wait, as far as one can tell from outside."""
    future = in_a_thread(lambda: caller.get(path, **headers))
    time.sleep(0.3)
    assert not future.done(), future.result().content
    return future


@pytest.mark.parametrize("query", ["wait=20", "wait=20&version=1"])
def test_waits_for_the_answer(agent: Api, query: str) -> None:
    approval = ask(task_states.active())
    began = time.monotonic()
    answer = waiting(agent, f"{where(approval)}?{query}")
    manager().post(where(approval, "approve"), {})
    said = answer.result(timeout=15)
    assert (said.status_code, said.json()["status"], said.headers["ETag"]) == (200, "approved", '"2"')
    assert said.json()["decisions"][0]["decider"] == "local|petra"
    assert time.monotonic() - began < 15


def test_one_vote_of_several_ends_the_wait_too(agent: Api) -> None:
    approval = ask(required_approvals=2)
    answer = waiting(agent, f"{where(approval)}?wait=20&version=1")
    manager().post(where(approval, "approve"), {})
    said = answer.result(timeout=15).json()
    assert (said["status"], said["version"]) == ("pending", 2)


def test_the_end_of_its_task_ends_the_wait(agent: Api) -> None:
    approval = ask()
    answer = waiting(agent, f"{where(approval)}?wait=20")
    task_states.cancelled(approval.task)
    assert answer.result(timeout=15).json()["status"] == "cancelled"


def test_does_not_wait_for_what_has_moved_on(agent: Api) -> None:
    approval = agree(ask(required_approvals=2))
    began = time.monotonic()
    said = agent.get(f"{where(approval)}?wait=20&version=1").json()
    assert said["version"] == 2
    assert time.monotonic() - began < 10


def test_answers_unchanged_when_the_time_is_up(agent: Api) -> None:
    approval = ask()
    answer = agent.get(f"{where(approval)}?wait=1&version=1")
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    answer = agent.get(f"{where(approval)}?wait=0&version=1", if_none_match='"1"')
    assert answer.status_code == 304


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("wait=1.5", "wait"),
        ("wait=", "wait"),
        ("version=x", "version"),
        ("include=task", "include"),
    ],
)
def test_refuses_a_wait_it_cannot_read(agent: Api, query: str, name: str) -> None:
    answer = agent.get(f"{where(ask())}?{query}")
    assert (answer.status_code, list(errors(answer))) == (400, [name])
