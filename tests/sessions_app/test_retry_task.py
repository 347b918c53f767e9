"""POST /tasks/{id}/retry"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_app.models import Task
from tests import work
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import UNKNOWN_ID
from tests.sessions_app.task_calls import (
    STATES,
    assert_problem,
    finn,
    mona,
    pass_deadline,
    path,
    task_in,
    told,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)

KEPT = ("task_type", "description", "from_role", "to_role", "data", "context", "priority", "max_attempts", "trace_id")


def retry(caller: Api, task: Task, body: Any = None, **headers: str) -> Any:
    return caller.post(path(task, "retry"), body, **headers)


def test_a_new_task_has_the_same_work_and_points_back(operator: Api) -> None:
    deadline = datetime.now(UTC) + timedelta(hours=1)
    said: dict[str, Any] = {
        "description": "Check.",
        "data": {"a": 1},
        "context": {"b": 2},
        "priority": 9,
        "max_attempts": 7,
    }
    failed = task_in("failed", deadline=deadline, not_before=datetime(2026, 1, 31, tzinfo=UTC), **said)
    with unchanged(failed):
        answer = retry(operator, failed, {"reason": "the ledger is open"})
    again, before = answer.json(), operator.get(path(failed)).json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/tasks/{again['task_id']}")
    assert answer.headers["ETag"] == '"1"'
    assert {name: again[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert (again["status"], again["retry_of"], again["attempt"]) == ("pending", str(failed.pk), 1)
    assert (again["deadline"], again["not_before"], again["error"]) == (before["deadline"], None, None)
    assert again["created_by"] == "local|olga"


def test_the_reason_goes_with_the_new_tasks_event(operator: Api) -> None:
    failed = task_in("failed")
    again = Task.objects.get(pk=retry(operator, failed, {"reason": "the ledger is open"}).json()["task_id"])
    [event] = work.chain(again)
    assert (event["event_type"], event["reason"], event["actor_subject"]) == (
        "task.created",
        "the ledger is open",
        "olga",
    )
    assert told(failed)[-1] == "task.failed"
    assert finn().post("/tasks/claim").json()["tasks"][0]["task_id"] == str(again.pk)


@pytest.mark.parametrize("body", [None, {}, {"reason": None}, {"reason": ""}])
def test_a_reason_may_be_left_out(operator: Api, body: Any) -> None:
    assert retry(operator, task_in("failed"), body).status_code == 201


def test_a_deadline_that_has_passed_is_not_taken_over(operator: Api) -> None:
    failed = task_in("failed", deadline=datetime.now(UTC) + timedelta(hours=1))
    pass_deadline(failed)
    assert retry(operator, failed).json()["deadline"] is None


def test_is_done_once(operator: Api) -> None:
    failed = task_in("failed")
    first = retry(operator, failed).json()
    answer = retry(operator, failed)
    assert_problem(answer, 409, "already-retried")
    assert answer.json()["retry_id"] == first["task_id"]
    assert Task.objects.count() == 2


def test_with_a_key_it_is_answered_again(operator: Api) -> None:
    failed = task_in("failed")
    first, second = (retry(operator, failed, Idempotency_Key="once") for _ in "12")
    assert (second.status_code, second.json()) == (201, first.json())


@pytest.mark.parametrize("state", [state for state in STATES if state != "failed"])
def test_refuses_what_did_not_fail(operator: Api, state: str) -> None:
    task = task_in(state)
    with unchanged(task):
        answer = retry(operator, task)
    assert_problem(answer, 409, "illegal-transition")
    assert (answer.json()["from"], answer.json()["to"]) == (state, "pending")
    assert Task.objects.count() == 1


def test_only_operators_retry() -> None:
    failed = task_in("failed")
    for caller, status in (
        (mona(), 403),
        (finn(), 403),
        (Api(token("ada", "auditor")), 403),
        (Api(token("bob", agent_roles="legal")), 404),
        (Api(token("olga", "operator", tenant="other")), 404),
    ):
        assert retry(caller, failed).status_code == status
    assert Task.objects.count() == 1


def test_retries_only_the_version_that_was_read(operator: Api) -> None:
    failed = task_in("failed")
    assert_problem(retry(operator, failed, if_match='"1"'), 412, "precondition-failed")
    assert retry(operator, failed, if_match='"3"').status_code == 201


def test_refuses_what_is_no_reason_and_no_id(operator: Api) -> None:
    failed = task_in("failed")
    for reason in (5, True, ["so"], "x" * 4001):
        assert errors(retry(operator, failed, {"reason": reason})) == ["reason"]
    assert errors(operator.post("/tasks/nonsense/retry")) == ["id"]
    assert operator.post(f"/tasks/{UNKNOWN_ID}/retry").status_code == 404
    assert operator.post(f"/tasks/task-{failed.pk}/retry").status_code == 201
