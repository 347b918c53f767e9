"""What becomes of tasks whose time ran out, many at once: leases that lapsed, deadlines that passed.

No promise waits for these: a lapsed lease completes nothing and a passed deadline allows nothing, whether or not they
ran. The rows come by one of the conditions here, which PostgreSQL judges again under the lock: a heartbeat or a
completion that came first is respected.
"""

from typing import NamedTuple

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from audit_app.trail import Action
from orchestrator.actors import Actor
from sessions_app.models import Task
from sessions_app.models.attempt import AttemptOutcome
from sessions_app.models.task import OPEN, TaskStatus
from sessions_app.transitions import attempts, handing_back
from sessions_app.transitions.backoff import requeue_after_a_pause
from sessions_app.transitions.batch import change_many
from sessions_app.transitions.deliveries import NOT_DELIVERED, lost_deliveries, requeue_undelivered
from sessions_app.transitions.ending import close_approvals
from sessions_app.transitions.handing_back import Move, fail_with

_PAST_DEADLINE = Q(status__in=OPEN, deadline__isnull=False, deadline__lte=Now())
# A task past its deadline is not put back, whether or not the job of deadlines has come by.
LAPSED = Q(status=TaskStatus.ACTIVE, lease_expires_at__lte=Now()) & (Q(deadline=None) | Q(deadline__gt=Now()))
OVERDUE = _PAST_DEADLINE & Q(cancel_requested=False)
"""Past their deadline."""
CALLED_OFF = _PAST_DEADLINE & Q(cancel_requested=True)
"""Past their deadline, and their end was asked for."""
UNWANTED = LAPSED & Q(cancel_requested=True)
"""Lapsed, and their end was asked for."""
UNDELIVERED = LAPSED & Q(cancel_requested=False) & NOT_DELIVERED
"""Lapsed without any use of the token, so that the attempt does not count."""
_LOST = LAPSED & Q(cancel_requested=False) & ~NOT_DELIVERED
EXHAUSTED = _LOST & Q(attempt__gte=F("max_attempts"))
"""Lapsed, and it was the last attempt."""
REPEATABLE = _LOST & Q(attempt__lt=F("max_attempts"))
"""Lapsed, with attempts left."""


class Ending(NamedTuple):
    """How the trail and the attempts tell of it."""

    action: Action
    reason: str
    outcome: AttemptOutcome


def fail_overdue(rows: QuerySet[Task], *, actor: Actor) -> int:
    """Fail overdue tasks, whoever holds them. How many."""
    ending = Ending(Action.TASK_FAILED, "deadline-exceeded", AttemptOutcome.DEADLINE_EXCEEDED)
    return _move(rows, ending, fail_with(handing_back.OVERDUE), actor=actor)


def cancel_overdue(rows: QuerySet[Task], *, actor: Actor) -> int:
    """Cancel tasks that were called off and whose deadline came before their lease ended. How many."""
    ending = Ending(Action.TASK_CANCELLED, "deadline-exceeded", AttemptOutcome.DEADLINE_EXCEEDED)
    return _move(rows, ending, Task.cancel, actor=actor)


def cancel_unwanted(rows: QuerySet[Task], *, actor: Actor) -> int:
    """Cancel unwanted tasks. How many."""
    ending = Ending(Action.TASK_CANCELLED, "lease-lost", AttemptOutcome.LEASE_LOST)
    return _move(rows, ending, Task.cancel, actor=actor)


def fail_exhausted(rows: QuerySet[Task], *, actor: Actor) -> int:
    """Fail exhausted tasks. How many."""
    ending = Ending(Action.TASK_FAILED, "attempts-exhausted", AttemptOutcome.LEASE_LOST)
    return _move(rows, ending, fail_with(handing_back.EXHAUSTED), actor=actor)


def requeue_lost_deliveries(rows: QuerySet[Task], *, actor: Actor) -> int:
    """Put undelivered tasks back as the same attempt, each after a pause of its own. Return how many."""
    ending = Ending(Action.TASK_REQUEUED, "lost-delivery", AttemptOutcome.LOST_DELIVERY)
    counted = rows.annotate(lost_deliveries=lost_deliveries())  # type: ignore[no-redef]  # declared by the model
    return _move(counted, ending, lambda task: requeue_undelivered(task, task.lost_deliveries), actor=actor)


def requeue_lapsed(rows: QuerySet[Task], *, actor: Actor) -> int:
    """Put repeatable tasks back, each after a pause of its own. How many."""
    ending = Ending(Action.TASK_REQUEUED, "lease-lost", AttemptOutcome.LEASE_LOST)
    return _move(rows, ending, requeue_after_a_pause, actor=actor)


def _move(rows: QuerySet[Task], ending: Ending, move: Move, *, actor: Actor) -> int:
    with change_many(rows, ending.action, actor=actor, reason=ending.reason) as batch:
        held = [(task.pk, task.lease_epoch) for task in batch if task.status == TaskStatus.ACTIVE]
        for task in batch:
            move(task)
    attempts.end_many(held, ending.outcome)
    close_approvals([task for task in batch if task.is_terminal], actor=actor)
    return len(batch)
