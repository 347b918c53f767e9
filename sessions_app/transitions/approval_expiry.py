"""What becomes of approvals whose time passed, many at once. No promise waits for it: past its time none is granted."""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Approval, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.task import TaskStatus
from sessions_app.transitions.answering import EXPIRED
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.change import insist_on_boundary
from sessions_app.transitions.ending import close_approvals
from sessions_app.transitions.settling import count_settled

OVERDUE = Q(status=ApprovalStatus.PENDING, expires_at__lte=Now())

_REASON = "Its time passed."


def expire_many(rows: QuerySet[Approval], *, actor: Actor) -> int:
    """Expire overdue approvals; the tasks that wait for one of them fail. How many approvals expired.

    Their tasks are locked first, as everywhere, and those that somebody else holds are passed over with their
    approvals: so nobody waits here while holding a lock, and no circle of waiting can close.
    """
    insist_on_boundary()
    asked = dict(rows.values_list("pk", "task_id"))
    free = Task.objects.filter(pk__in=set(asked.values())).order_by("pk")
    held = list(free.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    due = Approval.objects.filter(OVERDUE, pk__in=list(asked), task_id__in=held).order_by("pk")
    with change_many(due, Action.APPROVAL_EXPIRED, actor=actor, reason=_REASON) as expired:
        for approval in expired:
            approval.expire()
    count_settled(expired)
    _fail_blocked(list(expired), actor=actor)
    return len(expired)


def _fail_blocked(expired: list[Approval], *, actor: Actor) -> None:
    causes = {approval.task_id: approval.last_event for approval in expired if approval.blocks}
    blocked = Task.objects.filter(pk__in=causes, status=TaskStatus.BLOCKED).order_by("pk")
    with change_many(
        blocked, Action.TASK_FAILED, actor=actor, reason=EXPIRED["code"], cause=lambda task: causes[task.pk]
    ) as failed:
        for task in failed:
            task.fail()
            task.error = dict(EXPIRED)
    close_approvals(failed, actor=actor)
