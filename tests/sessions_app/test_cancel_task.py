"""POST /tasks/{id}/cancel"""

from typing import Any

import pytest

from sessions_app.models import Task
from tests import work
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import UNKNOWN_ID
from tests.sessions_app.task_calls import (
    TERMINAL,
    assert_problem,
    attempts,
    claimed,
    finn,
    lapse,
    mona,
    pass_deadline,
    path,
    routed,
    stored,
    task_in,
    told,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)


def cancel(task: Task, caller: Api | None = None, body: Any = None, **headers: str) -> Any:
    return (caller or mona()).post(path(task, "cancel"), body, **headers)


@pytest.mark.parametrize("state", ["pending", "blocked"])
@pytest.mark.parametrize("body", [None, {}, {"reason": None}, {"reason": "the auditors came early"}])
def test_what_nobody_holds_is_cancelled_at_once(state: str, body: Any) -> None:
    task = task_in(state)
    answer = cancel(task, body=body)
    assert (answer.status_code, answer.headers["ETag"]) == (200, f'"{task.version + 1}"')
    assert (answer.json()["status"], answer.json()["cancel_requested"]) == ("cancelled", False)
    event = work.chain(task)[-1]
    assert (event["event_type"], event["reason"]) == ("task.cancelled", (body or {}).get("reason") or "")
    work.assert_chain_holds(task)


def test_the_holder_of_an_active_one_is_asked() -> None:
    held = claimed()
    answer = cancel(held.task, body={"reason": "no more"})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    assert (answer.json()["status"], answer.json()["cancel_requested"]) == ("active", True)
    assert answer.json()["lease"]["holder"] == "local|finn"
    event = work.chain(held.task)[-1]
    assert (event["event_type"], event["reason"], event["to_status"]) == ("task.cancel_requested", "no more", "active")
    assert attempts(held.task)[0].ended_at is None


def test_asked_again_it_changes_nothing() -> None:
    held = claimed()
    first = cancel(held.task)
    with unchanged(held.task):
        assert cancel(held.task, body={"reason": "really"}).json() == first.json()


def test_what_lapsed_is_cancelled_at_once_with_its_attempt() -> None:
    held = claimed()
    lapse(held.task)
    assert cancel(held.task).json()["status"] == "cancelled"
    assert (told(held.task)[-1], attempts(held.task)[0].outcome) == ("task.cancelled", "lease-lost")


def test_past_its_deadline_it_may_be_cancelled() -> None:
    task = routed()
    pass_deadline(task)
    assert cancel(task).json()["status"] == "cancelled"


@pytest.mark.parametrize("state", TERMINAL)
def test_refuses_what_is_over(state: str) -> None:
    task = task_in(state)
    with unchanged(task):
        answer = cancel(task)
    assert_problem(answer, 409, "illegal-transition")
    assert (answer.json()["from"], answer.json()["to"], answer.json()["allowed"]) == (state, "cancelled", [])


def test_only_who_created_it_and_operators_cancel(operator: Api) -> None:
    task = routed()
    mine = Api(token("mona", agent_roles=""))
    for caller, status in (
        (finn(), 403),
        (Api(token("ada", "auditor")), 403),
        (Api(token("mona", "auditor")), 403),
        (Api(token("mia", agent_roles="manager")), 404),
        (Api(token("mona", "approver")), 404),
        (Api(token("mona", agent_roles="manager", act_subject="bot")), 404),
        (Api(token("olga", "operator", tenant="other")), 404),
    ):
        with unchanged(task):
            assert cancel(task, caller).status_code == status
    assert cancel(task, mine).status_code == 200
    assert cancel(routed(), operator).status_code == 200


def test_cancels_only_the_version_that_was_read() -> None:
    task = routed()
    with unchanged(task):
        assert_problem(cancel(task, if_match='"2"'), 412, "precondition-failed")
    assert cancel(task, if_match='"1"').status_code == 200
    assert_problem(cancel(task, if_match='"1"'), 412, "precondition-failed")


@pytest.mark.parametrize("reason", [5, True, [], {}, "x" * 4001])
def test_refuses_a_reason_that_is_no_text(reason: Any) -> None:
    task = routed()
    assert errors(cancel(task, body={"reason": reason})) == ["reason"]
    assert stored(task).status == "pending"


def test_refuses_an_id_that_is_none_and_takes_one_with_its_prefix() -> None:
    assert errors(mona().post("/tasks/nonsense/cancel")) == ["id"]
    assert_problem(mona().post(f"/tasks/{UNKNOWN_ID}/cancel"), 404, "not-found")
    assert mona().post(f"/tasks/TASK-{routed().pk}/cancel").status_code == 200
