"""The effect of an approval's outcome on its task.

Only a blocked task that waits for the approval is moved. A request about an active task moves nothing, whatever its
outcome.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from django.db.models import Q

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Approval, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.clock import with_clock
from sessions_app.models.task import TaskStatus
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.change import changed
from sessions_app.transitions.ending import close_approvals
from sessions_app.transitions.handing_back import OVERDUE, Move, fail_with

REJECTED = {"code": "approval-rejected", "message": "An approver rejected the request that the task waited for."}
EXPIRED = {"code": "approval-expired", "message": "The request that the task waited for was not decided in time."}

_WITHDRAWN = "approval-withdrawn"
_Effect = tuple[Action, Move, str]


def settle(task: Task, approval: Approval, *, actor: Actor) -> None:
    """Move a locked, blocked task on, once no request that it waits for is open.

    The task becomes pending when each request was approved. It is cancelled where one that it was created with was
    withdrawn and not replaced. Past its deadline it fails instead.
    """
    if not _waits(task, approval):
        return
    effect = _effect(task, _waited_for([task.pk])[task.pk])
    if effect is None:
        return
    word, move, reason = effect
    with changed(task, word, actor=actor, reason=reason, cause=approval.last_event) as moving:
        move(moving)
    close_approvals([task] if task.is_terminal else [], actor=actor)


def settle_many(causes: Mapping[UUID, UUID], *, actor: Actor) -> None:
    """Do what `settle()` does for many locked tasks; `causes` are the events that make it due, by task."""
    blocked = Q(pk__in=causes, status=TaskStatus.BLOCKED)
    requests = _waited_for(causes)
    effects: dict[tuple[Action, str], tuple[Move, list[UUID]]] = {}
    for task in with_clock(Task.objects.filter(blocked).order_by("pk")):
        effect = _effect(task, requests[task.pk])
        if effect is not None:
            word, move, reason = effect
            effects.setdefault((word, reason), (move, []))[1].append(task.pk)
    for (word, reason), (move, pks) in effects.items():
        rows = Task.objects.filter(blocked, pk__in=pks).order_by("pk")
        with change_many(rows, word, actor=actor, reason=reason, cause=lambda task: causes[task.pk]) as batch:
            for task in batch:
                move(task)
        close_approvals([task for task in batch if task.is_terminal], actor=actor)


def fail(task: Task, approval: Approval, error: dict[str, str], *, actor: Actor) -> None:
    """Fail a locked task that waited for this approval, and cancel its other open requests."""
    if not _waits(task, approval):
        return
    with changed(task, Action.TASK_FAILED, actor=actor, reason=error["code"], cause=approval.last_event) as failed:
        fail_with(error)(failed)
    close_approvals([task], actor=actor)


def _waits(task: Task, approval: Approval) -> bool:
    return approval.blocks and task.status == TaskStatus.BLOCKED


def _waited_for(tasks: Collection[UUID]) -> Mapping[UUID, list[Approval]]:
    """Return, by task, the requests that it waits or waited for."""
    found: dict[UUID, list[Approval]] = defaultdict(list)
    # A request that was added and cancelled, for no other, changes nothing, however many of them there were.
    cancelled = Q(status=ApprovalStatus.CANCELLED, required=False, replaces=None)
    rows = Approval.objects.filter(~cancelled, task_id__in=list(tasks), blocks=True).defer("action", "reason", "notes")
    for row in rows:
        if row.task_id is not None:
            found[row.task_id].append(row)
    return found


def _effect(task: Task, requests: Sequence[Approval]) -> _Effect | None:
    """Return what a blocked task becomes, or None while it waits."""
    if any(one.status == ApprovalStatus.PENDING for one in requests):
        return None
    if not all(_is_answered(one, requests) for one in requests):
        return Action.TASK_CANCELLED, Task.cancel, _WITHDRAWN
    if task.is_past_deadline():
        return Action.TASK_FAILED, fail_with(OVERDUE), OVERDUE["code"]
    return Action.TASK_UNBLOCKED, Task.unblock, ""


def _is_answered(one: Approval, requests: Iterable[Approval]) -> bool:
    """Return whether the task may go on as far as this request goes. The database has the same rule."""
    if one.status == ApprovalStatus.APPROVED or (one.status == ApprovalStatus.CANCELLED and not one.required):
        return True
    # A replacement may have been replaced in its turn. Nothing else stands in for a request.
    return any(other.replaces_id == one.pk and _is_answered(other, requests) for other in requests)
