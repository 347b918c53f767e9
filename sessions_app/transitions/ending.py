"""Cancelling the open approvals of tasks and sessions that end, and counting how long approvals were open."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import models, transaction

from audit_app.trail import Action
from orchestrator.actors import Actor
from orchestrator.metrics import APPROVAL_DECISION_SECONDS
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import ApprovalStatus
from sessions_app.transitions.batch import change_many

for _status in ApprovalStatus:
    if _status != ApprovalStatus.PENDING:
        APPROVAL_DECISION_SECONDS.labels(str(_status))


def close_approvals(ended: Sequence[Task], *, actor: Actor) -> None:
    """Cancel the open approvals of tasks that were just moved to a final state; their events are the causes.

    Every writer of an approval holds the lock of its task, as the caller does here, so no row is skipped as locked.
    """
    causes = {task.pk: task.last_event for task in ended}
    rows = Approval.objects.filter(task_id__in=causes)
    _cancel(rows, causes, "task_id", "Its task is over.", actor=actor)


def close_session_approvals(ended: Sequence[Session], *, actor: Actor) -> None:
    """Cancel the open approvals of sessions that were just moved to a final state, as `close_approvals()` does."""
    causes = {session.pk: session.last_event for session in ended}
    rows = Approval.objects.filter(session_id__in=causes)
    _cancel(rows, causes, "session_id", "Its session is over.", actor=actor)


def _cancel(
    rows: models.QuerySet[Approval], causes: Mapping[UUID, UUID], pointer: str, reason: str, *, actor: Actor
) -> None:
    if not causes:
        return
    due = rows.filter(status=ApprovalStatus.PENDING).order_by("pk")
    with change_many(
        due,
        Action.APPROVAL_CANCELLED,
        actor=actor,
        reason=reason,
        cause=lambda approval: causes[getattr(approval, pointer)],
    ) as batch:
        for approval in batch:
            approval.cancel()
    count_settled(batch)


def count_settled(approvals: Sequence[Approval]) -> None:
    """Observe, once committed, how long approvals were open that were just moved to a final state."""
    settled = [(str(one.status), (one.now - one.created_at).total_seconds()) for one in approvals]

    def count() -> None:
        for outcome, seconds in settled:
            APPROVAL_DECISION_SECONDS.labels(outcome).observe(seconds)

    transaction.on_commit(count, robust=True)
