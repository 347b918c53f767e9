"""What the answer to an approval does to its task.

Only to one that waits for that answer: one that was asked about a held task moves nothing, whatever the answer, and
wherever its task has gone since.
"""

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Approval, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.task import TaskStatus
from sessions_app.transitions.change import changed
from sessions_app.transitions.ending import close_approvals
from sessions_app.transitions.handing_back import OVERDUE, fail_with

REJECTED = {"code": "approval-rejected", "message": "Somebody who was asked refused."}
EXPIRED = {"code": "approval-expired", "message": "Nobody who was asked answered in time."}

_WITHDRAWN = "approval-withdrawn"


def granted(task: Task, approval: Approval, *, actor: Actor) -> None:
    """A locked task that waited goes on, once no other question that it waits for is open.

    Past its deadline it fails instead. It is cancelled where one was withdrawn and nothing as strict was answered in
    its place: nobody is to get round those who were asked by asking others.
    """
    if not _waits(task, approval):
        return
    asked = _asked(task)
    if any(one.status == ApprovalStatus.PENDING for one in asked):
        return
    if any(one.status == ApprovalStatus.CANCELLED and not _is_replaced(one, asked) for one in asked):
        _cancel(task, approval, actor=actor, reason=_WITHDRAWN)
        return
    if task.is_past_deadline():
        _fail(task, approval, OVERDUE, actor=actor)
        return
    with changed(task, Action.TASK_UNBLOCKED, actor=actor, cause=approval.last_event) as ready:
        ready.unblock()


def refused(task: Task, approval: Approval, *, actor: Actor) -> None:
    """A locked task that waited fails, and whatever else was asked about it is asked no more."""
    if not _waits(task, approval):
        return
    _fail(task, approval, REJECTED, actor=actor)


def withdrawn(task: Task, approval: Approval, *, actor: Actor) -> None:
    """A locked task that waited is cancelled, unless another question that it waits for is open."""
    if _waits(task, approval) and not any(one.status == ApprovalStatus.PENDING for one in _asked(task)):
        _cancel(task, approval, actor=actor)


def _waits(task: Task, approval: Approval) -> bool:
    return approval.blocks and task.status == TaskStatus.BLOCKED


def _asked(task: Task) -> list[Approval]:
    """What the task waits for, or waited for."""
    return list(Approval.objects.filter(task=task, blocks=True).defer("action", "reason", "notes"))


def _is_replaced(one: Approval, asked: list[Approval]) -> bool:
    return any(other.status == ApprovalStatus.APPROVED and other.replaces(one) for other in asked)


def _fail(task: Task, approval: Approval, error: dict[str, str], *, actor: Actor) -> None:
    with changed(task, Action.TASK_FAILED, actor=actor, reason=error["code"], cause=approval.last_event) as failed:
        fail_with(error)(failed)
    close_approvals([task], actor=actor)


def _cancel(task: Task, approval: Approval, *, actor: Actor, reason: str = "") -> None:
    with changed(task, Action.TASK_CANCELLED, actor=actor, reason=reason, cause=approval.last_event) as cancelled:
        cancelled.cancel()
    close_approvals([task], actor=actor)
