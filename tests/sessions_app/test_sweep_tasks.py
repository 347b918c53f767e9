"""manage.py sweep: what becomes of tasks whose time ran out."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from sessions_app import duties
from sessions_app.models import Task
from sessions_app.sweeping import sweep
from tests import work
from tests.database import superuser_connection, without_trigger
from tests.sessions_app.task_calls import (
    STATES,
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

OPEN = [state for state in STATES if state not in TERMINAL]


def swept() -> str:
    """What it says of tasks and their leases."""
    out = io.StringIO()
    call_command("sweep", stdout=out)
    return " ".join(line for line in out.getvalue().splitlines() if line.startswith(("Tasks: ", "Leases: ")))


def sentence(overdue: int = 0, called_off: int = 0, unwanted: int = 0, exhausted: int = 0, put_back: int = 0) -> str:
    return (
        f"Tasks: {overdue} failed past their deadline, {called_off} cancelled at their deadline."
        f" Leases: {unwanted} cancelled with their lease, 0 put back undelivered,"
        f" {exhausted} failed without an attempt left, {put_back} put back after their lease."
    )


def overdue(state: str) -> Task:
    task = task_in(state, deadline=soon())
    pass_deadline(task)
    return task


def lapsed(*, unwanted: bool = False, max_attempts: int = 3) -> Task:
    held = claimed(max_attempts=max_attempts)
    if unwanted:
        mona().post(path(held, "cancel"))
    lapse(held.task)
    return held.task


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_is_content_with_nothing_to_do() -> None:
    tasks = [*(task_in(state) for state in STATES), routed(deadline=soon()), overdue("completed")]
    before = [stored(task).version for task in tasks]
    assert swept() == sentence()
    assert [stored(task).version for task in tasks] == before


@pytest.mark.parametrize("state", OPEN)
def test_what_is_past_its_deadline_fails(state: str) -> None:
    task = overdue(state)
    assert swept() == sentence(overdue=1)
    row = stored(task)
    assert (row.status, (row.error or {})["code"], row.holder) == ("failed", "deadline-exceeded", None)
    assert (told(row)[-1], work.chain(row)[-1]["reason"]) == ("task.failed", "deadline-exceeded")
    assert [attempt.outcome for attempt in attempts(row)] == (["deadline-exceeded"] if state == "active" else [])
    work.assert_chain_holds(row)


def test_what_lapsed_goes_back_with_one_attempt_more_after_a_pause() -> None:
    task = lapsed()
    assert swept() == sentence(put_back=1)
    row, [attempt] = stored(task), attempts(task)
    assert (row.status, row.attempt, row.error, row.holder) == ("pending", 2, None, None)
    assert row.not_before is not None
    assert timedelta(0) <= row.not_before - row.updated_at <= timedelta(seconds=2)
    assert (attempt.outcome, attempt.ended_by) == ("lease-lost", None)
    assert attempt.ended_at is not None
    event = work.chain(row)[-1]
    assert (event["event_type"], event["reason"], event["actor_subject"], event["via"]) == (
        "task.requeued",
        "lease-lost",
        "job:requeue_lapsed_tasks",
        "job",
    )
    work.assert_chain_holds(row)


def test_what_lapsed_in_its_last_attempt_fails() -> None:
    task = lapsed(max_attempts=1)
    assert swept() == sentence(exhausted=1)
    row = stored(task)
    assert (row.status, row.attempt, (row.error or {})["code"]) == ("failed", 1, "attempts-exhausted")
    assert (work.chain(row)[-1]["reason"], attempts(row)[0].outcome) == ("attempts-exhausted", "lease-lost")
    work.assert_chain_holds(row)


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_what_lapsed_and_is_wanted_no_more_is_cancelled(max_attempts: int) -> None:
    task = lapsed(unwanted=True, max_attempts=max_attempts)
    assert swept() == sentence(unwanted=1)
    assert (stored(task).status, told(task)[-1]) == ("cancelled", "task.cancelled")
    assert (work.chain(task)[-1]["reason"], attempts(task)[0].outcome) == ("lease-lost", "lease-lost")


@pytest.mark.parametrize("is_lapsed", [True, False])
def test_what_was_called_off_is_cancelled_at_its_deadline_too(is_lapsed: bool) -> None:
    held = claimed()
    mona().post(path(held, "cancel"))
    if is_lapsed:
        lapse(held.task)
    pass_deadline(held.task)
    assert swept() == sentence(called_off=1)
    row = stored(held.task)
    assert (row.status, row.error, told(row)[-1]) == ("cancelled", None, "task.cancelled")
    assert (work.chain(row)[-1]["reason"], attempts(row)[0].outcome) == ("deadline-exceeded", "deadline-exceeded")
    work.assert_chain_holds(row)


@pytest.mark.parametrize("fields", [{"max_attempts": 1}, {}])
def test_a_deadline_comes_before_a_lapse(fields: dict[str, int]) -> None:
    task = lapsed(**fields)  # type: ignore[arg-type]
    pass_deadline(task)
    assert swept() == sentence(overdue=1)
    assert (stored(task).status, attempts(task)[0].outcome) == ("failed", "deadline-exceeded")


def test_does_all_of_it_at_once_and_nothing_twice() -> None:
    overdue("pending"), overdue("active"), lapsed(unwanted=True), lapsed(max_attempts=1), lapsed(), lapsed(), lapsed()
    assert swept() == sentence(2, 0, 1, 1, 3)
    assert swept() == sentence()


def test_what_was_put_back_is_done_by_another_and_the_late_one_refused() -> None:
    held = claimed()
    lapse(held.task)
    swept()
    with unchanged(held.task):
        assert_problem(finn().post(path(held, "complete"), held.body("complete")), 409, "lease-lost")
    assert claimed(held.task).task.lease_epoch == 2


def test_a_heartbeat_that_came_first_is_respected() -> None:
    held = claimed()
    lapse(held.task)
    chosen = duties.REQUEUE_LAPSED.rows()
    assert chosen.count() == 1
    beating = Task.objects.filter(pk=held.task.pk)
    assert beating.update(lease_expires_at=soon()) == 1
    assert sweep(duties.REQUEUE_LAPSED).moved == 0
    assert stored(held.task).status == "active"


def _forged(task: Task) -> None:
    """An event made up for the next version, which keeps every later change of the row out."""
    with without_trigger("audit_events", "audit_events_are_true"), superuser_connection() as forger:
        work.insert(forger, "audit_events", work.written_for(task))


@pytest.mark.parametrize("make", [lapsed, lambda: overdue("pending")], ids=["lapsed", "overdue"])
def test_one_that_cannot_be_moved_keeps_no_other_back(make: Callable[[], Task]) -> None:
    bad, good = make(), make()
    _forged(stored(bad))
    err = io.StringIO()
    with pytest.raises(CommandError, match="jobs could not be done wholly"):
        call_command("sweep", stdout=io.StringIO(), stderr=err)
    assert f"1 could not be: {bad.pk}" in err.getvalue()
    assert (stored(bad).version, stored(good).version) == (bad.version, good.version + 1)
