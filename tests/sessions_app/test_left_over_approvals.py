"""Tasks and sessions with more open requests than may be made today: they end, and the requests end after them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg.errors import IntegrityConstraintViolation

from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.clock import database_now
from sessions_app.jobs import close_left_over_approvals, end_overdue_tasks
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import MAX_OPEN
from sessions_app.transitions.approvals.requests import digest_of
from sessions_app.transitions.batch import create_many
from tests.database import service_connection, without_trigger
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import manager, problem_of, where
from tests.sessions_app.session_calls import events_of, last_event, session_in, somebody
from tests.sessions_app.task_calls import pass_deadline
from tests.work import assert_chain_holds, move_session

pytestmark = pytest.mark.django_db(transaction=True)


def crowd(count: int, **about: Any) -> list[Approval]:
    """Open requests of an older version, which had no limit."""

    def make() -> list[Approval]:
        at = database_now()
        lasting = {
            "expires_at": at + timedelta(days=30),
            "use_within_seconds": 3600,
            "required_approvals": 1,
            "blocks": False,
        }
        actions = [{"number": number} for number in range(count)]
        rows = [
            Approval(approver_role="manager", action=action, action_digest=digest_of(action), **about, **lasting)
            for action in actions
        ]
        create_many(rows, Action.APPROVAL_CREATED, at=at, actor=somebody("finn"), cause=None)
        return rows

    with without_trigger("approvals", "approvals_may_be_made"):
        return boundary.write(make)


def open_ones(**about: Any) -> int:
    return Approval.objects.filter(status="pending", **about).count()


def left_over(tasks: int = 0, sessions: int = 0) -> str:
    return f"Left over: {tasks} cancelled after their task, {sessions} cancelled after their session."


def test_a_task_with_too_many_open_requests_ends_and_they_end_after_it() -> None:
    task = task_states.pending()
    crowd(MAX_OPEN + 5, task=task)
    task_states.cancelled(task)
    ended, left = last_event(task.pk), list(Approval.objects.filter(status="pending"))
    assert (Task.objects.get(pk=task.pk).status, len(left)) == ("cancelled", 5)
    assert close_left_over_approvals() == left_over(tasks=5)
    for row in left:
        *_, last = events_of(row.pk)
        assert (last.event_type, last.reason, last.cause) == ("approval.cancelled", "Its task is over.", ended.pk)
        assert last.actor_subject == "job:close_approvals_of_ended_tasks"
        assert_chain_holds(Approval.objects.get(pk=row.pk))
    assert close_left_over_approvals() == left_over()


def test_nobody_decides_a_request_whose_task_ended_without_it() -> None:
    task = task_states.pending()
    crowd(MAX_OPEN + 1, task=task)
    task_states.cancelled(task)
    [left] = Approval.objects.filter(status="pending")
    for verb in ("approve", "reject"):
        problem_of(manager().post(where(left, verb), {}), 409, "illegal-transition")
    assert Approval.objects.get(pk=left.pk).version == left.version
    with (
        service_connection() as beside,
        pytest.raises(IntegrityConstraintViolation, match="its task or session is over"),
    ):
        beside.execute(
            "INSERT INTO approval_decisions (approval_id, decider_issuer, decider_subject, decider_kind, decision,"
            " comments, decided_at, requester_issuer, requester_subject)"
            " VALUES (%s, 'local', 'petra', 'person', 'approved', '', now(), '', '')",
            [left.pk],
        )


def test_a_session_with_too_many_open_requests_ends_and_they_end_after_it() -> None:
    session = session_in("active")
    crowd(MAX_OPEN + 3, session=session)
    move_session(session, "completed", by=somebody())
    assert (Session.objects.get(pk=session.pk).status, open_ones()) == ("completed", 3)
    ended = last_event(session.pk)
    [left, *_] = Approval.objects.filter(status="pending")
    assert close_left_over_approvals() == left_over(sessions=3)
    assert (last_event(left.pk).reason, last_event(left.pk).cause) == ("Its session is over.", ended.pk)


def test_requests_of_open_tasks_and_sessions_stay_open() -> None:
    crowd(1, task=task_states.pending())
    crowd(1, session=session_in("active"))
    assert close_left_over_approvals() == left_over()
    assert open_ones() == 2


@pytest.mark.slow
def test_tasks_that_end_together_leave_no_request_open() -> None:
    overdue = [task_states.pending(deadline=datetime.now(UTC) + timedelta(hours=1)) for _ in range(15)]
    for task in overdue:
        crowd(MAX_OPEN, task=task)
        pass_deadline(task)
    assert end_overdue_tasks() == "Tasks: 15 failed past their deadline, 0 cancelled at their deadline."
    assert open_ones() == 0


@pytest.mark.slow
def test_thousands_of_open_requests_stop_neither_the_end_of_their_task_nor_the_sweep() -> None:
    crowded = task_states.pending(deadline=datetime.now(UTC) + timedelta(hours=1))
    crowd(3000, task=crowded)
    pass_deadline(crowded)
    began = time.monotonic()
    assert end_overdue_tasks() == "Tasks: 1 failed past their deadline, 0 cancelled at their deadline."
    print(f"A task with 3,000 open requests ended in {time.monotonic() - began:.3f} s.")
    assert open_ones(task=crowded) == 3000 - MAX_OPEN
    with CaptureQueriesContext(connection) as queries:
        assert close_left_over_approvals() == left_over(tasks=3000 - MAX_OPEN)
    assert sum(sent["sql"].startswith("COPY") for sent in queries) == 15
    assert open_ones() == 0
