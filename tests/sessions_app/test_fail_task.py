"""POST /tasks/{id}/fail; tests/sessions_app/test_fencing.py has what all calls of a holder share."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessions_app.transitions.backoff import LONGEST_SECONDS, pause
from tests import work
from tests.api import errors
from tests.sessions_app.task_calls import (
    ERROR,
    Held,
    assert_problem,
    attempts,
    become_due,
    claimed,
    finn,
    mona,
    pass_deadline,
    path,
    routed,
    stored,
    told,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)


def fail(held: Held, **fields: Any) -> Any:
    return finn().post(path(held, "fail"), {"lease_token": held.token, "error": ERROR, **fields})


@pytest.mark.parametrize("fields", [{}, {"retryable": True}])
def test_goes_back_to_be_tried_again_after_a_pause(fields: dict[str, Any]) -> None:
    held = claimed()
    answer = fail(held, **fields)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    task, row = answer.json(), stored(held.task)
    assert (task["status"], task["attempt"], task["error"], task["lease"]) == ("pending", 2, ERROR, None)
    assert row.not_before is not None
    assert timedelta(0) <= row.not_before - row.updated_at <= timedelta(seconds=2)
    [attempt] = attempts(row)
    assert (attempt.outcome, attempt.error, attempt.ended_at) == ("failed", ERROR, row.updated_at)
    assert (told(row)[-1], work.chain(row)[-1]["reason"]) == ("task.requeued", "no-access")
    work.assert_chain_holds(row)


def test_the_last_attempt_fails_the_task() -> None:
    task = routed(max_attempts=2)
    fail(claimed(task))
    become_due(task)
    answer = fail(claimed(task)).json()
    assert (answer["status"], answer["attempt"], answer["error"]) == ("failed", 2, ERROR)
    assert work.chain(task)[-1]["reason"] == "attempts-exhausted"
    assert [attempt.attempt for attempt in attempts(task)] == [1, 2]


def test_what_cannot_be_tried_again_fails_at_once() -> None:
    held = claimed()
    answer = fail(held, retryable=False).json()
    assert (answer["status"], answer["attempt"], answer["error"]) == ("failed", 1, ERROR)
    assert (told(held.task)[-1], work.chain(held.task)[-1]["reason"]) == ("task.failed", "no-access")


def test_past_its_deadline_it_fails_however_many_attempts_are_left() -> None:
    held = claimed(deadline=datetime.now(UTC) + timedelta(hours=1))
    pass_deadline(held.task)
    assert fail(held).json()["status"] == "failed"


def test_what_is_wanted_no_more_is_cancelled() -> None:
    held = claimed()
    mona().post(path(held, "cancel"))
    answer = fail(held).json()
    assert (answer["status"], answer["error"], answer["attempt"]) == ("cancelled", ERROR, 1)
    assert told(held.task)[-2:] == ["task.cancel_requested", "task.cancelled"]
    assert attempts(held.task)[0].outcome == "failed"


@pytest.mark.parametrize("attempt", [1, 2, 8, 9, 20])
def test_a_pause_doubles_with_each_attempt_up_to_five_minutes_and_is_anything_up_to_that(attempt: int) -> None:
    most = min(2**attempt, LONGEST_SECONDS)
    pauses = [pause(attempt).total_seconds() for _ in range(500)]
    assert 0 <= min(pauses) < most / 4
    assert most * 3 / 4 < max(pauses) <= most


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"error": None}, "error"),
        ({"error": "it broke"}, "error"),
        ({"error": []}, "error"),
        ({"error": {}}, "error.code"),
        ({"error": {"code": "a"}}, "error.message"),
        ({"error": {"message": "a"}}, "error.code"),
        ({"error": {**ERROR, "code": ""}}, "error.code"),
        ({"error": {**ERROR, "code": 5}}, "error.code"),
        ({"error": {**ERROR, "code": "x" * 101}}, "error.code"),
        ({"error": {**ERROR, "message": None}}, "error.message"),
        ({"error": {**ERROR, "message": "x" * 4001}}, "error.message"),
        ({"retryable": "false"}, "retryable"),
        ({"retryable": 0}, "retryable"),
    ],
)
def test_refuses_an_error_that_is_none(fields: dict[str, Any], field: str) -> None:
    held = claimed()
    with unchanged(held.task):
        answer = fail(held, **fields)
    assert_problem(answer, 400, "invalid-request")
    assert field in errors(answer)


def test_takes_a_code_of_a_hundred_and_a_message_of_four_thousand_characters() -> None:
    error = {"code": "c" * 100, "message": "ü" * 4000}
    assert fail(claimed(), error=error).json()["error"] == error
    assert fail(claimed(), error={"code": "a", "message": ""}).json()["error"] == {"code": "a", "message": ""}
