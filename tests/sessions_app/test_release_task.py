"""POST /tasks/{id}/release; tests/sessions_app/test_fencing.py has what all calls of a holder share."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import work
from tests.sessions_app.task_calls import (
    Held,
    attempts,
    claimed,
    finn,
    mona,
    pass_deadline,
    path,
    stored,
    told,
)

pytestmark = pytest.mark.django_db(transaction=True)


def release(held: Held) -> Any:
    return finn().post(path(held, "release"), held.body("release"))


def test_hands_it_back_at_once_and_the_attempt_does_not_count() -> None:
    held = claimed()
    answer = release(held)
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    task = answer.json()
    assert (task["status"], task["attempt"], task["not_before"], task["lease"]) == ("pending", 1, None, None)
    [again] = finn().post("/tasks/claim").json()["tasks"]
    assert (again["task_id"], again["lease"]["epoch"], again["attempt"]) == (str(held.task.pk), 2, 1)


def test_leaves_one_event_and_ends_the_attempt() -> None:
    held = claimed()
    release(held)
    assert told(held.task) == ["task.created", "task.claimed", "task.released"]
    [attempt] = attempts(held.task)
    assert (attempt.outcome, attempt.error, attempt.ended_at) == ("released", None, stored(held.task).updated_at)
    work.assert_chain_holds(held.task)


def test_past_the_deadline_it_fails() -> None:
    held = claimed(deadline=datetime.now(UTC) + timedelta(hours=1))
    pass_deadline(held.task)
    answer = release(held).json()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "deadline-exceeded")
    assert (told(held.task)[-1], attempts(held.task)[0].outcome) == ("task.failed", "released")
    assert release(held).json() == answer


def test_what_is_wanted_no_more_is_cancelled() -> None:
    held = claimed()
    mona().post(path(held, "cancel"))
    answer = release(held).json()
    assert (answer["status"], answer["cancel_requested"], answer["allowed_transitions"]) == ("cancelled", True, [])
    assert (told(held.task)[-1], attempts(held.task)[0].outcome) == ("task.cancelled", "released")
    assert (release(held).status_code, release(held).json()) == (200, answer)


def test_may_be_done_any_number_of_times_and_the_attempts_stay_what_they_were() -> None:
    held = claimed(max_attempts=1)
    for epoch in (1, 2, 3):
        held = claimed(held.task) if epoch > 1 else held
        assert release(held).json()["status"] == "pending"
    assert [(one.epoch, one.attempt, one.outcome) for one in attempts(held.task)] == [
        (epoch, 1, "released") for epoch in (1, 2, 3)
    ]
