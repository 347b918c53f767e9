"""How tasks come about, are called off, tried again and deleted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit_app.trail import Action
from orchestrator.actors import Actor
from orchestrator.problems import InvalidRequest
from orchestrator.work_problems import AlreadyRetried, IllegalTransition, StillReferenced
from sessions_app.models import Session, Task
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.models.task import DEFAULT_ATTEMPTS, DEFAULT_PRIORITY, TaskStatus
from sessions_app.transitions import attempts
from sessions_app.transitions.change import changed, create, lock, lock_to_remove, remove
from sessions_app.transitions.clock import database_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be done, by whom, and within which bounds."""

    task_type: str
    from_role: str
    to_role: str
    description: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    priority: int = DEFAULT_PRIORITY
    not_before: datetime | None = None
    deadline: datetime | None = None
    max_attempts: int = DEFAULT_ATTEMPTS


def route(work: Work, *, actor: Actor, idempotency_key: str | None = None) -> Task:
    """A new task, pending, for the agents of a role. `idempotency_key` is the hex of the scoped key's hash.

    Raises InvalidRequest where its deadline has passed, or comes before it may begin.
    """
    at = database_now()
    _insist_on_time(work, at)
    task = _as_asked(work)
    task.trace_id, task.idempotency_key = actor.origin.trace_id, idempotency_key
    return create(task, Action.TASK_CREATED, at=at, actor=actor)


def cancel(task: Task, *, actor: Actor, reason: str = "", if_match: frozenset[int] | None = None) -> Task:
    """Call a task off: at once where nobody holds it, else its holder is told, and it ends with the lease.

    Asked again it changes nothing. Raises IllegalTransition for a task that is over, PreconditionFailed if `if_match`
    names other versions.
    """
    fresh = lock(task, if_match=if_match)
    if fresh.status == TaskStatus.ACTIVE and not fresh.is_lapsed():
        with changed(fresh, Action.TASK_CANCEL_REQUESTED, actor=actor, reason=reason) as asked:
            asked.cancel_requested = True
        return fresh
    held = (fresh.pk, fresh.lease_epoch) if fresh.status == TaskStatus.ACTIVE else None
    with changed(fresh, Action.TASK_CANCELLED, actor=actor, reason=reason) as cancelled:
        cancelled.cancel()
    if held is not None:
        attempts.end(held, AttemptOutcome.LEASE_LOST, at=fresh.now)
    return fresh


def retry(task: Task, *, actor: Actor, reason: str = "", if_match: frozenset[int] | None = None) -> Task:
    """A new pending task with the work of a failed one, to which it points back.

    The lock on the failed one settles the race of two who retry it: the second finds what the first made. A deadline
    that has passed is not taken over.

    Raises IllegalTransition unless it failed, AlreadyRetried, PreconditionFailed if `if_match` names other versions.
    """
    failed = lock(task, if_match=if_match)
    if failed.status != TaskStatus.FAILED:
        allowed = failed.allowed_transitions()
        raise IllegalTransition(before=str(failed.status), to=str(TaskStatus.PENDING), allowed=allowed)
    for earlier in Task.objects.filter(retry_of=failed).values_list("pk", flat=True):
        raise AlreadyRetried(str(earlier))
    again = Task(
        **{name: getattr(failed, name) for name in _TAKEN_OVER},
        deadline=None if failed.is_past_deadline() else failed.deadline,
        retry_of=failed,
        trace_id=failed.trace_id,
    )
    return create(again, Action.TASK_CREATED, at=failed.now, actor=actor, reason=reason)


def delete(task: Task, *, actor: Actor, if_match: frozenset[int] | None = None) -> None:
    """Delete a task that is over, and its attempts with it. Its trail stays and ends with `task.deleted`.

    Raises IllegalTransition while it is not over, StillReferenced while a session or a retry points to it,
    PreconditionFailed if `if_match` names other versions.
    """
    fresh = lock_to_remove(task, if_match=if_match)
    if not fresh.is_terminal:
        raise IllegalTransition(before=str(fresh.status), to="deleted", allowed=fresh.allowed_transitions())
    by = {
        "sessions": Session.objects.filter(task=fresh).count(),
        "retries": Task.objects.filter(retry_of=fresh).count(),
    }
    if any(by.values()):
        raise StillReferenced({noun: count for noun, count in by.items() if count})
    remove(fresh, Action.TASK_DELETED, actor=actor)


_TAKEN_OVER = (*("task_type", "description", "from_role", "to_role", "data", "context", "priority", "max_attempts"),)


def _as_asked(work: Work) -> Task:
    return Task(
        **{name: getattr(work, name) for name in _TAKEN_OVER if name not in ("data", "context")},
        data=dict(work.data),
        context=dict(work.context),
        not_before=work.not_before,
        deadline=work.deadline,
    )


def _insist_on_time(work: Work, at: datetime) -> None:
    if work.deadline is None:
        return
    if work.deadline <= at:
        raise InvalidRequest([("deadline", "It has passed.")])
    if work.not_before is not None and work.deadline <= work.not_before:
        raise InvalidRequest([("deadline", "It must come after not_before.")])
