"""What becomes of a locked task whose holder has it no longer."""

from collections.abc import Callable, Mapping
from typing import Any

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Task
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.models.task import TaskStatus
from sessions_app.transitions import attempts
from sessions_app.transitions.backoff import requeue_after_a_pause
from sessions_app.transitions.change import changed
from sessions_app.transitions.deliveries import lost_before, requeue_undelivered
from sessions_app.transitions.ending import close_approvals

OVERDUE = {"code": "deadline-exceeded", "message": "Its deadline passed before it was done."}
EXHAUSTED = {"code": "attempts-exhausted", "message": "Its last lease ran out, and it had no attempt left."}

Move = Callable[[Task], None]


def hand_back(
    task: Task,
    action: Action,
    outcome: AttemptOutcome,
    *,
    actor: Actor,
    reason: str = "",
    ended_by: bytes | None = None,
) -> Task:
    """It waits again at once, and the attempt does not count. Raises IllegalTransition where nobody holds it."""
    word, move = _end(task) or (action, Task.requeue)
    return let_go(task, word, move, outcome, actor=actor, reason=reason, ended_by=ended_by)


def lose(task: Task, action: Action, *, actor: Actor, reason: str) -> Task:
    """Its lease ran out: the attempt is lost, and the next one comes after a pause, or not at all.

    A lost delivery is followed by the same attempt.
    """
    lost = lost_before(task)
    if lost is not None and not task.cancel_requested and not task.is_past_deadline():
        outcome = AttemptOutcome.LOST_DELIVERY
        return let_go(task, action, lambda row: requeue_undelivered(row, lost), outcome, actor=actor, reason=reason)
    is_last = task.attempt >= task.max_attempts
    further = (Action.TASK_FAILED, fail_with(EXHAUSTED)) if is_last else (action, requeue_after_a_pause)
    word, move = _end(task) or further
    return let_go(task, word, move, AttemptOutcome.LEASE_LOST, actor=actor, reason=reason)


def fail_with(error: dict[str, str]) -> Move:
    """The move to `failed` with an error of the service's own."""

    def move(task: Task) -> None:
        task.fail()
        task.error = dict(error)

    return move


def _end(task: Task) -> tuple[Action, Move] | None:
    """How it ends where it may not wait again: called off, or past its deadline."""
    if task.status != TaskStatus.ACTIVE:
        return None
    if task.cancel_requested:
        return Action.TASK_CANCELLED, Task.cancel
    return (Action.TASK_FAILED, fail_with(OVERDUE)) if task.is_past_deadline() else None


def let_go(
    task: Task,
    word: Action,
    move: Move,
    outcome: AttemptOutcome,
    *,
    actor: Actor,
    reason: str = "",
    error: Mapping[str, Any] | None = None,
    ended_by: bytes | None = None,
) -> Task:
    """Move a locked task that is held, end the attempt at it, and ask no more about it if that is its end.

    `error` is the holder's word on why it could not be done; `ended_by` the digest of the call that ended the attempt.
    """
    held, told = (task.pk, task.lease_epoch), None if error is None else dict(error)
    with changed(task, word, actor=actor, reason=reason) as moved:
        move(moved)
        if told is not None:
            moved.error = told
    attempts.end(held, outcome, at=task.now, error=told, ended_by=ended_by)
    close_approvals([task] if task.is_terminal else [], actor=actor)
    return task
