"""POST /tasks/{id}/complete; tests/sessions_app/test_fencing.py has what all calls of a holder share."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import work
from tests.api import errors
from tests.sessions_app.task_calls import (
    Held,
    assert_problem,
    attempted,
    attempts,
    claimed,
    finn,
    mona,
    pass_deadline,
    path,
    refused,
    stored,
    told,
    unchanged,
)

pytestmark = pytest.mark.django_db(transaction=True)


def complete(held: Held, **fields: Any) -> Any:
    return finn().post(path(held, "complete"), {"lease_token": held.token, **fields})


def test_ends_the_task_with_what_came_of_it() -> None:
    held = claimed()
    answer = complete(held, output={"unpaid": [3, None]})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
    assert answer.json() == mona().get(path(held)).json()
    done = answer.json()
    assert (done["status"], done["output"], done["lease"]) == ("completed", {"unpaid": [3, None]}, None)
    assert (done["allowed_transitions"], done["attempt"], done["error"]) == ([], 1, None)


def test_leaves_one_event_and_ends_the_attempt() -> None:
    held = claimed()
    complete(held, output={"unpaid": 3})
    assert told(held.task) == ["task.created", "task.claimed", "task.completed"]
    event, [attempt] = work.chain(held.task)[-1], attempts(held.task)
    assert (event["from_status"], event["to_status"], event["actor_subject"]) == ("active", "completed", "finn")
    assert attempted(event)["output"] == {"unpaid": 3}
    assert (attempt.outcome, attempt.error, attempt.ended_at) == ("completed", None, stored(held.task).updated_at)
    work.assert_chain_holds(held.task)


@pytest.mark.parametrize("fields", [{}, {"output": None}])
def test_nothing_has_to_come_of_it(fields: dict[str, Any]) -> None:
    assert complete(claimed(), **fields).json()["output"] is None


def test_what_came_of_it_may_have_sixty_four_kibibytes_and_not_one_more() -> None:
    held, size = claimed(), 64 * 1024 - len('{"a":""}')
    with unchanged(held.task):
        assert errors(complete(held, output={"a": "x" * (size + 1)})) == ["output"]
    assert complete(held, output={"a": "x" * size}).status_code == 200


@pytest.mark.parametrize("output", ["done", 5, True, []])
def test_refuses_an_output_that_is_no_object(output: Any) -> None:
    held = claimed()
    with unchanged(held.task):
        answer = complete(held, output=output)
    assert (answer.status_code, errors(answer)) == (400, ["output"])


def test_past_the_deadline_it_is_refused_and_that_is_remembered() -> None:
    held = claimed(deadline=datetime.now(UTC) + timedelta(hours=1))
    pass_deadline(held.task)
    with unchanged(held.task):
        assert_problem(complete(held), 409, "deadline-exceeded")
    [event] = refused(held.task)
    assert (event["reason"], attempted(event)) == ("deadline-exceeded", {"attempted": "complete", "version": 2})


def test_once_done_the_deadline_does_not_matter_to_a_repetition() -> None:
    held = claimed(deadline=datetime.now(UTC) + timedelta(hours=1))
    first = complete(held)
    pass_deadline(held.task)
    assert (complete(held).status_code, complete(held).json()["status"]) == (200, first.json()["status"])


def test_what_is_wanted_no_more_may_still_be_completed() -> None:
    held = claimed()
    mona().post(path(held, "cancel"))
    done = complete(held)
    assert (done.status_code, done.json()["status"], done.json()["version"]) == (200, "completed", 4)


def test_with_a_key_it_is_answered_again_as_it_was() -> None:
    held = claimed()
    first, second = (finn().post(path(held, "complete"), held.body("complete"), Idempotency_Key="k") for _ in "12")
    assert (second.json(), second.headers["Idempotent-Replayed"]) == (first.json(), "true")
