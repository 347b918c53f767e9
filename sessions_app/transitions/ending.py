"""A task's end: whatever is still asked about it is asked no more."""

from collections.abc import Sequence

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Approval, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.settling import count_settled

_REASON = "Its task is over."


def close_approvals(ended: Sequence[Task], *, actor: Actor) -> None:
    """Cancel the open approvals of tasks that were just moved to a final state; their events name that as the cause.

    Whoever moves an approval holds its task's lock, as the caller does: none of these is held by another, and none is
    passed over.
    """
    if not ended:
        return
    causes = {task.pk: task.last_event for task in ended}
    rows = Approval.objects.filter(task_id__in=causes, status=ApprovalStatus.PENDING).order_by("pk")
    with change_many(
        rows,
        Action.APPROVAL_CANCELLED,
        actor=actor,
        reason=_REASON,
        cause=lambda approval: causes[approval.task_id],
    ) as batch:
        for approval in batch:
            approval.cancel()
    count_settled(batch)
