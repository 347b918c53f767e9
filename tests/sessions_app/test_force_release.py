"""POST /tasks/{id}/force-release"""

from typing import Any

import pytest

from sessions_app.models import Task
from tests import work
from tests.api import Api, errors, token
from tests.sessions_app.session_calls import UNKNOWN_ID
from tests.sessions_app.task_calls import (
    STATES,
    assert_problem,
    attempts,
    claimed,
    finn,
    lapse,
    mona,
    pass_deadline,
    path,
    task_in,
    told,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)

WHY = {"reason": "the worker hangs"}


def force(caller: Api, task: Task, body: Any = WHY, **headers: str) -> Any:
    return caller.post(path(task, "force-release"), body, **headers)


def test_takes_it_from_its_holder_and_the_attempt_does_not_count(operator: Api) -> None:
    held = claimed()
    answer = force(operator, held.task)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    task = answer.json()
    assert (task["status"], task["attempt"], task["not_before"], task["lease"]) == ("pending", 1, None, None)
    assert_problem(finn().post(path(held, "complete"), held.body("complete")), 409, "lease-lost")
    assert claimed(held.task).task.lease_epoch == 2


def test_an_attempt_that_was_lost_before_stays_lost(operator: Api) -> None:
    held = claimed()
    lapse(held.task)
    task = force(operator, held.task).json()
    assert (task["status"], task["attempt"], task["lease"]) == ("pending", 2, None)
    assert (told(held.task)[-1], attempts(held.task)[0].outcome) == ("task.force_released", "lease-lost")
    work.assert_chain_holds(held.task)


def test_one_that_was_lost_in_its_last_attempt_fails_as_in_a_sweep(operator: Api) -> None:
    held = claimed(max_attempts=1)
    lapse(held.task)
    task = force(operator, held.task).json()
    assert (task["status"], task["attempt"], task["error"]["code"]) == ("failed", 1, "attempts-exhausted")
    assert (told(held.task)[-1], attempts(held.task)[0].outcome) == ("task.failed", "lease-lost")


@pytest.mark.parametrize("is_lapsed", [False, True])
def test_what_is_past_its_deadline_fails(operator: Api, is_lapsed: bool) -> None:
    held = claimed()
    if is_lapsed:
        lapse(held.task)
    pass_deadline(held.task)
    task = force(operator, held.task).json()
    assert (task["status"], task["error"]["code"]) == ("failed", "deadline-exceeded")
    assert work.chain(held.task)[-1]["reason"] == "the worker hangs"


def test_leaves_one_event_with_its_reason_and_ends_the_attempt(operator: Api) -> None:
    held = claimed()
    force(operator, held.task)
    event, [attempt] = work.chain(held.task)[-1], attempts(held.task)
    assert (event["event_type"], event["reason"], event["actor_subject"]) == (
        "task.force_released",
        "the worker hangs",
        "olga",
    )
    assert (attempt.outcome, attempt.ended_by, str(attempt.holder)) == ("force-released", None, "local|finn")
    work.assert_chain_holds(held.task)


def test_what_is_wanted_no_more_is_cancelled(operator: Api) -> None:
    held = claimed()
    mona().post(path(held, "cancel"))
    assert force(operator, held.task).json()["status"] == "cancelled"
    assert (told(held.task)[-1], work.chain(held.task)[-1]["reason"]) == ("task.cancelled", "the worker hangs")
    assert attempts(held.task)[0].outcome == "force-released"


@pytest.mark.parametrize("state", [state for state in STATES if state != "active"])
def test_refuses_what_nobody_holds(operator: Api, state: str) -> None:
    task = task_in(state)
    with unchanged(task):
        answer = force(operator, task)
    assert_problem(answer, 409, "illegal-transition")
    assert (answer.json()["from"], answer.json()["to"]) == (state, "pending")


@pytest.mark.parametrize("body", [None, {}, *({"reason": why} for why in (None, "", " ", 5, True, ["so"], "x" * 4001))])
def test_needs_a_reason(operator: Api, body: Any) -> None:
    held = claimed()
    with unchanged(held.task):
        answer = force(operator, held.task, body)
    assert (answer.status_code, errors(answer)) == (400, ["reason"])


def test_only_operators_do() -> None:
    held = claimed()
    for caller, status in (
        (mona(), 403),
        (finn(), 403),
        (Api(token("ada", "auditor")), 403),
        (Api(token("olga", "operator", tenant="other")), 404),
    ):
        with unchanged(held.task):
            assert force(caller, held.task).status_code == status
    assert finn().post(path(held, "complete"), held.body("complete")).status_code == 200


def test_takes_only_the_version_that_was_read(operator: Api) -> None:
    held = claimed()
    assert_problem(force(operator, held.task, if_match='"1"'), 412, "precondition-failed")
    assert force(operator, held.task, if_match='"2"').status_code == 200


def test_refuses_an_id_that_is_none_and_takes_one_with_its_prefix(operator: Api) -> None:
    assert errors(operator.post("/tasks/nonsense/force-release", WHY)) == ["id"]
    assert operator.post(f"/tasks/{UNKNOWN_ID}/force-release", WHY).status_code == 404
    assert operator.post(f"/tasks/task-{claimed().task.pk}/force-release", WHY).status_code == 200
