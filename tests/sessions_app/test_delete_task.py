"""DELETE /tasks/{id}"""

from typing import Any

import pytest

from sessions_app.models import Attempt, Session, Task
from tests import work
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import UNKNOWN_ID
from tests.sessions_app.task_calls import (
    STATES,
    TERMINAL,
    assert_problem,
    finn,
    mona,
    path,
    task_in,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)

OPEN = [state for state in STATES if state not in TERMINAL]
REASON = "?reason=It+is+old."


def delete(caller: Api, at: str, **headers: str) -> Any:
    return caller.send("DELETE", at + REASON, **headers)


@pytest.mark.parametrize("state", TERMINAL)
def test_what_is_over_goes_with_its_attempts_and_its_trail_stays(operator: Api, state: str) -> None:
    task, other = task_in(state), task_in("completed")
    before = work.chain(task)
    answer = delete(operator, path(task))
    assert (answer.status_code, answer.content) == (204, b"")
    assert list(Task.objects.all()) == [other]
    assert set(Attempt.objects.values_list("task_id", flat=True)) == {other.pk}
    *kept, last = work.chain(task)
    assert kept == before
    assert (last["event_type"], last["from_status"], last["to_status"]) == ("task.deleted", state, None)
    assert last["reason"] == "It is old."
    assert (last["actor_subject"], last["seq"], bytes(last["prev_hash"])) == (
        "olga",
        task.version + 1,
        bytes(kept[-1]["hash"]),
    )
    assert operator.get(path(task)).status_code == 404


@pytest.mark.parametrize("state", OPEN)
def test_refuses_what_is_not_over(operator: Api, state: str) -> None:
    task = task_in(state)
    with unchanged(task):
        answer = delete(operator, path(task))
    assert_problem(answer, 409, "illegal-transition")
    assert (answer.json()["from"], answer.json()["to"]) == (state, "deleted")


def test_refuses_while_a_session_or_a_retry_points_to_it(operator: Api) -> None:
    task = task_in("failed")
    sessions = [work.open_session(task=task) for _ in "12"]
    retry = operator.post(path(task, "retry")).json()["task_id"]
    for by in ({"sessions": 2, "retries": 1}, {"retries": 1}):
        with unchanged(task):
            answer = delete(operator, path(task))
        assert_problem(answer, 409, "still-referenced")
        assert answer.json()["by"] == by
        for session in sessions:
            work.move_session(session, "expired")
            delete(operator, f"/sessions/{session.pk}")
        sessions = []
    assert not Session.objects.exists()
    operator.post(f"/tasks/{retry}/cancel")
    assert delete(operator, f"/tasks/{retry}").status_code == 204
    assert delete(operator, path(task)).status_code == 204


def test_is_done_once(operator: Api) -> None:
    task = task_in("completed")
    assert [delete(operator, path(task)).status_code for _ in "12"] == [204, 404]


def test_only_operators_delete_and_rights_come_before_the_state() -> None:
    for state in ("completed", "pending"):
        task = task_in(state)
        for caller, status in (
            (mona(), 403),
            (finn(), 403),
            (Api(token("ada", "auditor")), 403),
            (Api(token("bob", agent_roles="legal")), 404),
            (Api(token("olga", "operator", tenant="other")), 404),
        ):
            with unchanged(task):
                assert delete(caller, path(task)).status_code == status


def test_deletes_only_the_version_that_was_read(operator: Api) -> None:
    task = task_in("completed")
    with unchanged(task):
        assert_problem(delete(operator, path(task), if_match='"1"'), 412, "precondition-failed")
    assert delete(operator, path(task), if_match='"3"').status_code == 204


@pytest.mark.parametrize("query", ["", "?reason=", "?reason=+%20", f"?reason={'x' * 4001}"])
def test_needs_a_reason(operator: Api, query: str) -> None:
    task = task_in("completed")
    with unchanged(task):
        answer = operator.send("DELETE", path(task) + query)
    assert (answer.status_code, list(errors(answer))) == (400, ["reason"])


def test_takes_no_body_and_no_id_that_is_none(operator: Api) -> None:
    task = task_in("completed")
    assert errors(operator.send("DELETE", path(task) + REASON, {"reason": "so"})) == ["body"]
    assert errors(delete(operator, "/tasks/nonsense")) == ["id"]
    assert delete(operator, f"/tasks/{UNKNOWN_ID}").status_code == 404
    assert delete(operator, f"/tasks/task-{task.pk}").status_code == 204
