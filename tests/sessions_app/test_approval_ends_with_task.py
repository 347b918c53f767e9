"""A task's end closes what is still asked about it, whichever way it ends; and what was answered stays as it was."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from orchestrator import boundary
from orchestrator.clock import database_now
from sessions_app.duties import DEADLINE_DUTIES, LEASE_DUTIES
from sessions_app.models import Approval, Task
from sessions_app.sweeping import sweep
from sessions_app.transitions import lease
from tests.api import Api
from tests.sessions_app import task_states
from tests.sessions_app.approval_calls import agree, ask, asker, manager, now, problem_of, where
from tests.sessions_app.session_calls import events_of, last_event, somebody
from tests.work import assert_chain_holds

pytestmark = pytest.mark.django_db(transaction=True)

AGAIN = {"code": "busy", "message": "Later."}


def _settle() -> None:
    for duty, _ in (*DEADLINE_DUTIES, *LEASE_DUTIES):
        sweep(duty)


def _deadline_passes(held: bool) -> tuple[Task, Approval]:
    soon = boundary.read(database_now) + timedelta(seconds=1)
    task = task_states.pending(deadline=soon)
    if held:
        task_states.held(task)
    approval = ask(task)
    while boundary.read(database_now) <= soon:
        pass
    _settle()
    return task, approval


def _after(end: Callable[[Task, str], object]) -> tuple[Task, Approval]:
    task, token = task_states.held(task_states.pending(max_attempts=1))
    approval = ask(task)
    end(task, token)
    return task, approval


def _complete(task: Task, token: str) -> object:
    return boundary.write(partial(lease.complete, task, token=token, output=None, actor=somebody("finn")))


def _fail(task: Task, token: str, *, retryable: bool = False) -> object:
    failing = partial(lease.fail, task, token=token, error=AGAIN, retryable=retryable, actor=somebody("finn"))
    return boundary.write(failing)


def _cancel_and_release(task: Task, token: str) -> object:
    task_states.cancelled(task)
    return boundary.write(partial(lease.release, task, token=token, actor=somebody("finn")))


def _cancel_and_take_away(task: Task, _token: str) -> object:
    task_states.cancelled(task)
    return boundary.write(partial(lease.force_release, task, reason="too long", actor=task_states.manager()))


def _blocked_and_cancelled() -> tuple[Task, Approval]:
    approval = ask()
    return task_states.cancelled(approval.task), approval


def _lapsed(*, wanted: bool) -> tuple[Task, Approval]:
    task, _ = task_states.held(task_states.pending(max_attempts=1), lasting=timedelta(seconds=0.5))
    approval = ask(task)
    if not wanted:
        task_states.cancelled(task)
    while not Task.objects.filter(pk=task.pk, status__in=["failed", "cancelled"]).exists():
        _settle()
    return task, approval


ENDS: dict[str, tuple[Callable[[], tuple[Task, Approval]], str]] = {
    "completed": (lambda: _after(_complete), "completed"),
    "failed for good": (lambda: _after(_fail), "failed"),
    "failed without an attempt left": (lambda: _after(partial(_fail, retryable=True)), "failed"),
    "cancelled while it waited": (_blocked_and_cancelled, "cancelled"),
    "cancelled and released": (lambda: _after(_cancel_and_release), "cancelled"),
    "cancelled and taken away": (lambda: _after(_cancel_and_take_away), "cancelled"),
    "past its deadline while it waited": (lambda: _deadline_passes(held=False), "failed"),
    "past its deadline while it was held": (lambda: _deadline_passes(held=True), "failed"),
    "lapsed without an attempt left": (lambda: _lapsed(wanted=True), "failed"),
    "lapsed and not wanted": (lambda: _lapsed(wanted=False), "cancelled"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_is_open_is_closed_and_says_why(end: str) -> None:
    make, status = ENDS[end]
    task, approval = make()
    ended, closed = last_event(task.pk), last_event(approval.pk)
    assert (Task.objects.get(pk=task.pk).status, now(approval).status) == (status, "cancelled")
    assert (closed.event_type, closed.reason, closed.cause) == ("approval.cancelled", "Its task is over.", ended.pk)
    assert (closed.actor_subject, closed.xid) == (ended.actor_subject, ended.xid)
    assert_chain_holds(approval)
    assert_chain_holds(task)
    problem_of(manager().post(where(approval, "approve"), {}), 409, "illegal-transition")


def test_all_that_is_open_is_closed() -> None:
    task, token = task_states.held()
    asked = [ask(task, approver_role=role) for role in ("manager", "board", "legal")]
    _complete(task, token)
    assert {now(one).status for one in asked} == {"cancelled"}


def test_what_was_answered_stays_as_it_was() -> None:
    task, token = task_states.held()
    approval = agree(ask(task))
    _complete(task, token)
    assert (now(approval).status, now(approval).version) == ("approved", approval.version)


@pytest.mark.parametrize("back", ["released", "failed", "taken away", "lapsed"])
def test_a_task_that_goes_back_keeps_what_is_asked(back: str, operator: Api) -> None:
    lasting = timedelta(seconds=0.3) if back == "lapsed" else timedelta(minutes=1)
    task, token = task_states.held(lasting=lasting)
    approval = ask(task)
    if back == "released":
        boundary.write(lambda: lease.release(task, token=token, actor=somebody("finn")))
    elif back == "failed":
        _fail(task, token, retryable=True)
    elif back == "taken away":
        operator.post(f"/tasks/{task.pk}/force-release", {"reason": "too long"})
    else:
        while Task.objects.get(pk=task.pk).status == "active":
            _settle()
    assert (Task.objects.get(pk=task.pk).status, now(approval).status) == ("pending", "pending")
    # It was asked about a task that somebody held: it does not hold up the next one.
    manager().post(where(approval, "approve"), {})
    assert (Task.objects.get(pk=task.pk).status, now(approval).status) == ("pending", "approved")


def test_a_request_to_cancel_does_not_close_it_yet() -> None:
    task, _ = task_states.held()
    approval = ask(task)
    task_states.cancelled(task)
    assert (Task.objects.get(pk=task.pk).status, now(approval).status) == ("active", "pending")


def test_deleting_a_task_ends_the_trail_of_each_approval(operator: Api, settings: Any) -> None:
    settings.APPROVAL_RETENTION_DAYS = 0
    task, token = task_states.held()
    agreed, open_one = agree(ask(task), comments="Checked."), ask(task)
    _complete(task, token)
    assert operator.send("DELETE", f"/tasks/{task.pk}?reason=It+is+old.").status_code == 204
    assert not Approval.objects.exists()
    gone = last_event(task.pk)
    for approval, count in ((agreed, 3), (open_one, 3)):
        *_, last = events = events_of(approval.pk)
        assert (last.event_type, last.cause, last.to_status, len(events)) == ("approval.deleted", gone.pk, None, count)
        assert last.reason == gone.reason == "It is old."
    assert asker().get(where(agreed)).status_code == 404
