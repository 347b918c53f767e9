"""POST /tasks/{id}/heartbeat"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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


def beat(held: Held, **body: Any) -> Any:
    return finn().post(path(held, "heartbeat"), {"lease_token": held.token, **body})


def test_the_lease_lasts_anew_as_long_as_the_claim_asked_for() -> None:
    held = claimed(lasting=timedelta(seconds=90))
    before = held.task.lease_expires_at
    answer = beat(held)
    assert (answer.status_code, "ETag" in answer.headers) == (200, False)
    row = stored(held.task)
    assert before is not None
    assert row.lease_expires_at is not None
    assert before < row.lease_expires_at <= datetime.now(UTC) + timedelta(seconds=90)
    expires = row.lease_expires_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert answer.json() == {
        "lease": {"holder": "local|finn", "epoch": 1, "expires_at": expires},
        "cancel_requested": False,
    }


def test_leaves_no_event_and_no_version() -> None:
    held = claimed()
    beat(held, progress={"percent": 40})
    row = stored(held.task)
    assert (row.version, row.updated_at, told(row)) == (2, held.task.updated_at, ["task.created", "task.claimed"])
    assert len(attempts(row)) == 1


@pytest.mark.parametrize(
    "progress", [{"percent": 40, "message": "16 of 41"}, {"percent": 0}, {"percent": 99.5}, {"message": ""}, {}]
)
def test_keeps_what_is_said_of_the_progress_until_something_else_is_said(progress: dict[str, Any]) -> None:
    held = claimed()
    for body in ({"progress": progress}, {}, {"progress": None}):
        assert beat(held, **body).status_code == 200
        assert finn().get(path(held)).json()["progress"] == progress
    beat(held, progress={"message": "done"})
    assert finn().get(path(held)).json()["progress"] == {"message": "done"}


def test_the_next_holder_begins_without_progress() -> None:
    held = claimed()
    beat(held, progress={"percent": 40})
    finn().post(path(held, "release"), held.body("release"))
    assert claimed(held.task).task.progress is None
    assert stored(held.task).progress is None


def test_is_told_that_the_task_is_wanted_no_more() -> None:
    held = claimed()
    assert mona().post(path(held, "cancel")).status_code == 200
    for _ in range(2):
        assert beat(held).json()["cancel_requested"] is True
    assert finn().post(path(held, "complete"), held.body("complete")).status_code == 200


def test_past_the_deadline_it_is_refused_and_that_is_remembered() -> None:
    held = claimed(deadline=datetime.now(UTC) + timedelta(hours=1))
    pass_deadline(held.task)
    with unchanged(held.task):
        assert_problem(beat(held), 409, "deadline-exceeded")
    [event] = refused(held.task)
    assert (event["reason"], event["actor_subject"]) == ("deadline-exceeded", "finn")
    assert attempted(event) == {"attempted": "heartbeat", "version": 2}


def test_with_another_version_in_hand_it_is_a_412_and_keeps_nothing() -> None:
    held = claimed()
    with unchanged(held.task):
        for version, status, slug in (('"1"', 412, "precondition-failed"), ("garbage", 400, "invalid-request")):
            answer = finn().post(path(held, "heartbeat"), held.body("heartbeat"), if_match=version)
            assert_problem(answer, status, slug)
    assert finn().post(path(held, "heartbeat"), held.body("heartbeat"), if_match='"2"').status_code == 200


def test_an_idempotency_key_is_passed_over() -> None:
    held = claimed()
    first, second = (finn().post(path(held, "heartbeat"), held.body("heartbeat"), Idempotency_Key="k") for _ in "12")
    assert first.json()["lease"]["expires_at"] < second.json()["lease"]["expires_at"]
    assert "Idempotent-Replayed" not in second.headers


@pytest.mark.parametrize(
    ("progress", "field"),
    [
        ("40 %", "progress"),
        (40, "progress"),
        ([], "progress"),
        ({"percent": "40"}, "progress.percent"),
        ({"percent": True}, "progress.percent"),
        ({"percent": -1}, "progress.percent"),
        ({"percent": 100.5}, "progress.percent"),
        ({"message": 5}, "progress.message"),
        ({"message": "x" * 4001}, "progress.message"),
    ],
)
def test_refuses_progress_that_is_none(progress: Any, field: str) -> None:
    held = claimed()
    with unchanged(held.task):
        answer = beat(held, progress=progress)
    assert (answer.status_code, errors(answer)) == (400, [field])


def test_refuses_members_of_progress_that_it_does_not_know() -> None:
    held = claimed()
    answer = beat(held, progress={"percent": 1, "nonsense": 2})
    assert (answer.status_code, list(errors(answer))) == (400, ["progress.nonsense"])
    assert stored(held.task).progress is None
