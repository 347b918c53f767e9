"""What the answer to an approval does to its task. An active task stays with its holder, whatever the answer."""

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Approval, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.task import TaskStatus
from sessions_app.transitions.change import changed
from sessions_app.transitions.ending import close_approvals

REJECTED = {"code": "approval-rejected", "message": "Somebody who was asked refused."}
EXPIRED = {"code": "approval-expired", "message": "Nobody who was asked answered in time."}


def granted(task: Task, approval: Approval, *, actor: Actor) -> None:
    """A locked task that waited goes on, once no other question is open."""
    if task.status != TaskStatus.BLOCKED or _is_asked(task):
        return
    with changed(task, Action.TASK_UNBLOCKED, actor=actor, cause=approval.last_event) as ready:
        ready.unblock()


def refused(task: Task, approval: Approval, *, actor: Actor) -> None:
    """A locked task that waited fails, and whatever else was asked about it is asked no more."""
    if task.status != TaskStatus.BLOCKED:
        return
    reason = REJECTED["code"]
    with changed(task, Action.TASK_FAILED, actor=actor, reason=reason, cause=approval.last_event) as failed:
        failed.fail()
        failed.error = dict(REJECTED)
    close_approvals([task], actor=actor)


def withdrawn(task: Task, approval: Approval, *, actor: Actor) -> None:
    """A locked task that waited is cancelled, unless another question is open."""
    if task.status != TaskStatus.BLOCKED or _is_asked(task):
        return
    with changed(task, Action.TASK_CANCELLED, actor=actor, cause=approval.last_event) as cancelled:
        cancelled.cancel()


def _is_asked(task: Task) -> bool:
    return Approval.objects.filter(task=task, status=ApprovalStatus.PENDING).exists()
