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


MAX_CLOSED = 4_000
"""How many approvals end along with tasks or sessions in one transaction: MAX_OPEN for each of the 200 of a sweep."""
_AT_ONCE = 200
"""How many of them one statement cancels, so that none takes too long."""

_TASK_IS_OVER = "Its task is over."
_SESSION_IS_OVER = "Its session is over."


def close_approvals(ended: Sequence[Task], *, actor: Actor) -> None:
    """Cancel the open approvals of tasks that were just moved to a final state; their events are the causes.

    Every writer of an approval holds the lock of its task, as the caller does here, so no row is skipped as locked.

    All of them are cancelled, unless a task of an older version has more than MAX_OPEN, or more than 200 tasks end at
    once, as in a cut-off: then MAX_OPEN for each task, and MAX_CLOSED together. `close_left_over()` cancels the others.
    Until then nobody can decide or use them.
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
    left = min(MAX_OPEN * len(causes), MAX_CLOSED)
    while left:
        size = min(left, _AT_ONCE)
        # Without an order: that of the key would tempt the planner to walk through all approvals there are.
        with change_many(
            rows.filter(status=ApprovalStatus.PENDING)[:size],
            Action.APPROVAL_CANCELLED,
            actor=actor,
            reason=reason,
            cause=lambda approval: causes[getattr(approval, pointer)],
        ) as batch:
            for approval in batch:
                approval.cancel()
        count_settled(batch)
        left = left - size if len(batch) == size else 0


def count_settled(approvals: Sequence[Approval]) -> None:
    """Observe, once committed, how long approvals were open that were just moved to a final state."""
    settled = [(str(one.status), (one.now - one.created_at).total_seconds()) for one in approvals]

    def count() -> None:
        for outcome, seconds in settled:
            APPROVAL_DECISION_SECONDS.labels(outcome).observe(seconds)

    transaction.on_commit(count, robust=True)
