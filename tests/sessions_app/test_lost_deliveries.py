"""A claim whose answer nobody received costs no attempt, three times per task."""

import io
import random
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from sessions_app import duties
from sessions_app.models import Task
from sessions_app.sweeping import sweep
from tests import work
from tests.api import Api
from tests.database import without_trigger
from tests.sessions_app.task_calls import (
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
)
from tests.sessions_app.task_sql import assert_refused
from tests.sessions_app.test_sweep_tasks import soon, swept

pytestmark = pytest.mark.django_db(transaction=True)


def let_time_pass(task: Task) -> None:
    """Make the present lease of a task, from its claim to its end, as much older as lets it run out."""
    older = "- interval '2 hours' WHERE"
    with without_trigger("task_attempts", "task_attempts_end_once"), connection.cursor() as cursor:
        cursor.execute(f"UPDATE tasks SET lease_expires_at = lease_expires_at {older} id = %s", [task.pk])
        cursor.execute(
            f"UPDATE task_attempts SET claimed_at = claimed_at {older} task_id = %s AND ended_at IS NULL", [task.pk]
        )


def claim_and_hang_up(task: Task) -> None:
    """Claim the only task by API, throw the answer away, and let the lease run out."""
    [got] = finn().post("/tasks/claim", {"roles": ["finance"]}).json()["tasks"]
    assert got["task_id"] == str(task.pk)
    let_time_pass(task)


def lose(task: Task, times: int) -> None:
    """Lose so many deliveries of a task, each found by the sweep."""
    for _ in range(times):
        claim_and_hang_up(task)
        sweep(duties.REQUEUE_LOST_DELIVERIES)
        become_due(task)


def outcomes(task: Task) -> list[tuple[int, str | None]]:
    return [(one.attempt, one.outcome) for one in attempts(task)]


def test_a_task_with_two_attempts_is_done_after_two_callers_hung_up() -> None:
    task = routed(max_attempts=2)
    for _ in range(2):
        claim_and_hang_up(task)
        assert "1 put back undelivered" in swept()
        become_due(task)
    held = claimed(task)
    assert finn().post(path(task, "complete"), held.body("complete")).status_code == 200
    row = stored(task)
    assert (row.status, row.attempt) == ("completed", 1)
    assert outcomes(task) == [(1, "lost-delivery"), (1, "lost-delivery"), (1, "completed")]
    assert told(task) == [
        "task.created",
        *("task.claimed", "task.requeued") * 2,
        *("task.claimed", "task.completed"),
    ]
    assert work.chain(task)[2]["reason"] == "lost-delivery"
    work.assert_chain_holds(task)


def test_a_task_that_kills_its_workers_at_once_still_ends() -> None:
    task = routed(max_attempts=1)
    lose(task, 3)
    claim_and_hang_up(task)
    assert "0 put back undelivered, 1 failed without an attempt left" in swept()
    row = stored(task)
    assert (row.status, (row.error or {})["code"]) == ("failed", "attempts-exhausted")
    assert outcomes(task) == [*[(1, "lost-delivery")] * 3, (1, "lease-lost")]


def test_the_fourth_lost_delivery_is_a_lost_attempt() -> None:
    task = routed(max_attempts=2)
    lose(task, 3)
    claim_and_hang_up(task)
    assert "1 put back after their lease" in swept()
    assert stored(task).attempt == 2
    assert outcomes(task)[3] == (1, "lease-lost")


def test_the_pause_grows_with_each_lost_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)
    task, pauses = routed(), []
    for _ in range(3):
        claim_and_hang_up(task)
        swept()
        row = stored(task)
        assert row.not_before is not None
        pauses.append((row.not_before - row.updated_at).total_seconds())
        become_due(task)
    assert pauses == [2, 4, 8]


def beat(held: Any) -> None:
    assert finn().post(path(held, "heartbeat"), held.body("heartbeat")).status_code == 200


def ask(held: Any) -> None:
    about = {"task_id": str(held.task.pk), "approver_role": "manager", "reason": "Pay it?", "action": {"pay": 1}}
    assert finn().post("/approvals", about).status_code == 201


@pytest.mark.parametrize("use", [beat, ask])
def test_a_holder_who_did_anything_with_the_task_lost_an_attempt(use: Any) -> None:
    held = claimed()
    use(held)
    let_time_pass(held.task)
    assert "1 put back after their lease" in swept()
    assert outcomes(held.task) == [(1, "lease-lost")]
    assert stored(held.task).attempt == 2


def test_a_request_by_another_is_no_use_of_the_lease() -> None:
    held = claimed()
    about = {"task_id": str(held.task.pk), "approver_role": "finance", "reason": "Pay it?", "action": {"pay": 1}}
    assert mona().post("/approvals", about).status_code == 201
    let_time_pass(held.task)
    assert "1 put back undelivered" in swept()


def test_what_is_wanted_no_more_or_past_its_deadline_ends_all_the_same() -> None:
    unwanted, overdue = claimed().task, claimed(deadline=soon()).task
    mona().post(path(unwanted, "cancel"))
    for task in (unwanted, overdue):
        let_time_pass(task)
    pass_deadline(overdue)
    swept()
    assert [stored(task).status for task in (unwanted, overdue)] == ["cancelled", "failed"]
    assert outcomes(unwanted) == [(1, "lease-lost")]
    assert outcomes(overdue) == [(1, "deadline-exceeded")]


def test_an_operator_who_takes_it_away_finds_what_the_sweep_would(operator: Api) -> None:
    task = claimed(max_attempts=1).task
    let_time_pass(task)
    taken = operator.post(path(task, "force-release"), {"reason": "nobody answers"})
    assert (taken.status_code, taken.json()["status"], taken.json()["attempt"]) == (200, "pending", 1)
    assert outcomes(task) == [(1, "lost-delivery")]
    assert stored(task).not_before is not None


def test_whoever_asks_about_it_before_the_sweep_finds_it_put_back() -> None:
    task = claimed(max_attempts=1).task
    let_time_pass(task)
    about = {"task_id": str(task.pk), "approver_role": "finance", "reason": "Pay it?"}
    assert mona().post("/approvals", about).status_code == 201
    assert stored(task).status == "blocked"
    assert outcomes(task) == [(1, "lost-delivery")]


def test_callers_see_it_as_an_outcome(operator: Api) -> None:
    task = routed()
    lose(task, 1)
    [attempt] = operator.get(f"{path(task)}?include=attempts").json()["attempts"]
    assert (attempt["outcome"], attempt["error"]) == ("lost-delivery", None)


def test_the_database_refuses_a_fourth_one_and_one_that_a_call_ended() -> None:
    task = routed()
    lose(task, 3)
    claimed(task)
    end = "UPDATE task_attempts SET ended_at = clock_timestamp(), outcome = 'lost-delivery'"
    assert_refused(f"{end} WHERE task_id = %s AND ended_at IS NULL", task, "at most three times")
    other = claimed().task
    called = f"{end}, ended_by = sha256('x') WHERE task_id = %s"
    assert_refused(called, other, "no call ends it")


def test_the_sweep_says_how_many_it_found() -> None:
    for _ in range(2):
        let_time_pass(claimed().task)
    out = io.StringIO()
    call_command("sweep", stdout=out)
    assert "2 put back undelivered" in out.getvalue()
    assert "0 put back undelivered" in swept()
