"""How tasks come about, are called off, tried again and deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from audit_app.trail import Action
from orchestrator.actors import Actor
from orchestrator.clock import database_now
from orchestrator.problems import InvalidRequest
from orchestrator.work_problems import AlreadyRetried, IllegalTransition, StillReferenced
from sessions_app.models import Approval, Session, Task
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.models.task import DEFAULT_ATTEMPTS, DEFAULT_PRIORITY, TaskStatus
from sessions_app.transitions.admission import admit
from sessions_app.transitions.approvals.requests import Question, ask_many, questions_of
from sessions_app.transitions.change import changed, create, lock, lock_to_remove
from sessions_app.transitions.deletion import delete_with_approvals, prepare_second_person
from sessions_app.transitions.ending import close_approvals
from sessions_app.transitions.handing_back import let_go

_DOCUMENTS = ("data", "context")
_TAKEN_OVER = ("task_type", "description", "from_role", "to_role", *_DOCUMENTS, "priority", "max_attempts")


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


def route(work: Work, *, actor: Actor, questions: Sequence[Question] = (), idempotency_key: str | None = None) -> Task:
    """A new task for the agents of a role: pending, or blocked until the questions are answered.

    `idempotency_key` is the hex of the scoped key's hash.

    Raises InvalidRequest where its deadline has passed, or comes before it may begin; what `ask_many()` raises.
    """
    if questions:
        admit(actor)
    at = database_now()
    _insist_on_time(work, at)
    task = Task(
        status=_first_status(questions),
        **{name: getattr(work, name) for name in _TAKEN_OVER if name not in _DOCUMENTS},
        **{name: dict(getattr(work, name)) for name in _DOCUMENTS},
        not_before=work.not_before,
        deadline=work.deadline,
        trace_id=actor.origin.trace_id,
        idempotency_key=idempotency_key,
    )
    return _create(task, questions, at=at, actor=actor)


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
    if fresh.is_lapsed():
        outcome = AttemptOutcome.LEASE_LOST
        return let_go(fresh, Action.TASK_CANCELLED, Task.cancel, outcome, actor=actor, reason=reason)
    with changed(fresh, Action.TASK_CANCELLED, actor=actor, reason=reason) as cancelled:
        cancelled.cancel()
    close_approvals([fresh], actor=actor)
    return fresh


def retry(task: Task, *, actor: Actor, reason: str = "", if_match: frozenset[int] | None = None) -> Task:
    """A new pending task with the work of a failed one, to which it points back.

    The lock on the failed one settles the race of two who retry it: the second finds what the first made. A deadline
    that has passed is not taken over. The requests that the failed one had to wait for are made again, by the operator
    who retries: people agreed to that task, and not to this one. A request that was rejected is named as reopened.

    Raises IllegalTransition unless it failed, AlreadyRetried, PreconditionFailed if `if_match` names other versions;
    Unauthenticated for an operator who is cut off.
    """
    admit(actor)
    failed = lock(task, if_match=if_match)
    if failed.status != TaskStatus.FAILED:
        allowed = failed.allowed_transitions()
        raise IllegalTransition(before=str(failed.status), to=str(TaskStatus.PENDING), allowed=allowed)
    for earlier in Task.objects.filter(retry_of=failed).values_list("pk", flat=True):
        raise AlreadyRetried(str(earlier))
    questions, reopening = questions_of(failed)
    again = Task(
        status=_first_status(questions),
        **{name: getattr(failed, name) for name in _TAKEN_OVER},
        deadline=None if failed.is_past_deadline() else failed.deadline,
        retry_of=failed,
        trace_id=failed.trace_id,
    )
    return _create(again, questions, at=failed.now, actor=actor, reason=reason, reopening=reopening)


def delete(task: Task, *, reason: str, actor: Actor, if_match: frozenset[int] | None = None) -> Approval | None:
    """Delete a task that is over, with its attempts, approvals and decisions, and return None.

    The trails of the task and of each approval stay, and end with `task.deleted` and `approval.deleted`. Where a second
    person is needed and has not agreed yet, return the request instead, and delete nothing.

    Raises IllegalTransition while it is not over, StillReferenced while a session or a retry points to it, Retained,
    PreconditionFailed if `if_match` names other versions; what `second_person()` raises.
    """
    prepare_second_person(actor)
    fresh = lock_to_remove(task, if_match=if_match)
    if not fresh.is_terminal:
        raise IllegalTransition(before=str(fresh.status), to="deleted", allowed=fresh.allowed_transitions())
    by = {
        "sessions": Session.objects.filter(task=fresh).count(),
        "retries": Task.objects.filter(retry_of=fresh).count(),
    }
    if any(by.values()):
        raise StillReferenced({noun: count for noun, count in by.items() if count})
    return delete_with_approvals(fresh, Action.TASK_DELETED, reason=reason, actor=actor)


def _create(
    task: Task,
    questions: Sequence[Question],
    *,
    at: datetime,
    actor: Actor,
    reason: str = "",
    reopening: Sequence[UUID | None] = (),
) -> Task:
    create(task, Action.TASK_CREATED, at=at, actor=actor, reason=reason)
    ask_many(task, questions, at=at, actor=actor, reopening=reopening)
    return task


def _first_status(questions: Sequence[Question]) -> TaskStatus:
    """A task that has to wait for people waits from the start: there is no moment at which it could be claimed."""
    return TaskStatus.BLOCKED if questions else TaskStatus.PENDING


def _insist_on_time(work: Work, at: datetime) -> None:
    if work.deadline is None:
        return
    if work.deadline <= at:
        raise InvalidRequest([("deadline", "It has passed.")])
    if work.not_before is not None and work.deadline <= work.not_before:
        raise InvalidRequest([("deadline", "It must come after not_before.")])
