"""Expiring approvals past their time, many at once. A late sweep breaks no promise: past its time none is approved."""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.models.task import TaskStatus
from sessions_app.transitions.approvals.task_effects import EXPIRED
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.change import insist_on_boundary
from sessions_app.transitions.ending import close_approvals, count_settled

OVERDUE = Q(status=ApprovalStatus.PENDING, expires_at__lte=Now())

_REASON = "Its time passed."


def expire_many(rows: QuerySet[Approval], *, actor: Actor) -> int:
    """Expire overdue approvals; the tasks that wait for one of them fail. Return how many approvals expired.

    Their tasks and sessions are locked first, as everywhere. Those that another transaction holds are skipped with
    their approvals, so that no transaction waits here while it holds a lock, and no deadlock can arise.
    """
    insist_on_boundary()
    asked = list(rows.values_list("pk", "task_id", "session_id"))
    tasks = Task.objects.filter(pk__in={task for _, task, _ in asked if task}).order_by("pk")
    held = list(tasks.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    sessions = Session.objects.filter(pk__in={session for _, _, session in asked if session}).order_by("pk")
    open_ones = list(sessions.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    free = Q(task_id__in=held) | Q(session_id__in=open_ones) | Q(task=None, session=None)
    due = Approval.objects.filter(OVERDUE, free, pk__in=[pk for pk, _, _ in asked]).order_by("pk")
    with change_many(due, Action.APPROVAL_EXPIRED, actor=actor, reason=_REASON) as expired:
        for approval in expired:
            approval.expire()
    count_settled(expired)
    _fail_blocked(list(expired), actor=actor)
    return len(expired)


def _fail_blocked(expired: list[Approval], *, actor: Actor) -> None:
    causes = {approval.task_id: approval.last_event for approval in expired if approval.blocks and approval.task_id}
    blocked = Task.objects.filter(pk__in=causes, status=TaskStatus.BLOCKED).order_by("pk")
    with change_many(
        blocked, Action.TASK_FAILED, actor=actor, reason=EXPIRED["code"], cause=lambda task: causes[task.pk]
    ) as failed:
        for task in failed:
            task.fail()
            task.error = dict(EXPIRED)
    close_approvals(failed, actor=actor)
