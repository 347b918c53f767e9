"""Cancelling the open approvals of tasks and sessions that end, and counting how long approvals were open."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import models, transaction

from audit_app import trail
from audit_app.trail import Action
from orchestrator.actors import Actor
from orchestrator.metrics import APPROVAL_DECISION_SECONDS
from sessions_app.models import Approval, Session, Task
from sessions_app.models.approval import MAX_OPEN, ApprovalStatus
from sessions_app.transitions.batch import change_many

for _status in ApprovalStatus:
    if _status != ApprovalStatus.PENDING:
        APPROVAL_DECISION_SECONDS.labels(str(_status))


MAX_CLOSED_AT_ONCE = 200
"""How many approvals end along with tasks or sessions in one transaction, however many of these end in it."""

_TASK_IS_OVER = "Its task is over."
_SESSION_IS_OVER = "Its session is over."


def close_approvals(ended: Sequence[Task], *, actor: Actor) -> None:
    """Cancel the open approvals of tasks that were just moved to a final state; their events are the causes.

    Every writer of an approval holds the lock of its task, as the caller does here, so no row is skipped as locked.

    At most MAX_OPEN for each task are cancelled, and MAX_CLOSED_AT_ONCE together. A task of an older version may have
    more. `close_left_over()` cancels the rest; nobody can decide or use them meanwhile.
    """
    causes = {task.pk: task.last_event for task in ended}
    rows = Approval.objects.filter(task_id__in=causes)
    _cancel(rows, causes, "task_id", _TASK_IS_OVER, actor=actor)


def close_session_approvals(ended: Sequence[Session], *, actor: Actor) -> None:
    """Cancel the open approvals of sessions that were just moved to a final state, as `close_approvals()` does."""
    causes = {session.pk: session.last_event for session in ended}
    rows = Approval.objects.filter(session_id__in=causes)
    _cancel(rows, causes, "session_id", _SESSION_IS_OVER, actor=actor)


def close_left_over(rows: models.QuerySet[Approval], subject: type[Task | Session], *, actor: Actor) -> int:
    """Cancel open approvals of tasks, or of sessions, that ended without them. How many.

    The cause of each is the last event of its task or session. That one is final, so its lock is not needed.
    """
    pointer, causes = f"{subject.NOUN}_id", dict[UUID, UUID]()
    with change_many(
        rows,
        Action.APPROVAL_CANCELLED,
        actor=actor,
        reason=_TASK_IS_OVER if subject is Task else _SESSION_IS_OVER,
        cause=lambda approval: causes[getattr(approval, pointer)],
    ) as batch:
        causes.update(trail.last_events(subject.NOUN, {getattr(approval, pointer) for approval in batch}))
        for approval in batch:
            approval.cancel()
    count_settled(batch)
    return len(batch)


def _cancel(
    rows: models.QuerySet[Approval], causes: Mapping[UUID, UUID], pointer: str, reason: str, *, actor: Actor
) -> None:
    if not causes:
        return
    most = min(MAX_OPEN * len(causes), MAX_CLOSED_AT_ONCE)
    # Without an order: that of the key would tempt the planner to walk through all approvals there are.
    due = rows.filter(status=ApprovalStatus.PENDING)[:most]
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
