"""Lost deliveries: leases that ran out although nobody ever used their token.

The caller of such a claim hung up, or the answer was lost on its way: nobody worked on the task. So the attempt does
not count, at most three times per task. After that it counts, so that a task that kills its workers at once still ends.
"""

from django.db.models import BooleanField, IntegerField, Q
from django.db.models.expressions import RawSQL

from sessions_app.models import Task
from sessions_app.transitions.backoff import pause

MAX_LOST_DELIVERIES = 3
"""How many lost deliveries of one task do not count as attempts."""

_LOST = """
(SELECT count(*)::int FROM task_attempts earlier
  WHERE earlier.task_id = tasks.id AND earlier.outcome = 'lost-delivery')"""

# A heartbeat moves the end of the lease, and every other use of the token ends the lease. A lease that still ends when
# its claim said was not used, unless its holder asked for an approval about the task.
_UNUSED = """
EXISTS (SELECT FROM task_attempts a WHERE a.task_id = tasks.id AND a.epoch = tasks.lease_epoch
  AND a.claimed_at + make_interval(secs => tasks.lease_seconds) = tasks.lease_expires_at
  AND NOT EXISTS (SELECT FROM approvals asked WHERE asked.task_id = tasks.id AND asked.created_at >= a.claimed_at
    AND (asked.created_by_issuer, asked.created_by_subject) = (a.holder_issuer, a.holder_subject)))"""

NOT_DELIVERED = Q(RawSQL(f"({_UNUSED} AND {_LOST} < %s)", [MAX_LOST_DELIVERIES], BooleanField()))  # noqa: S611
"""Nobody used the token of the task's lease, and the task has lost deliveries left."""


def lost_deliveries() -> RawSQL:
    """Return the expression that counts the lost deliveries of a task."""
    return RawSQL(_LOST, [], IntegerField())  # noqa: S611  no input in it


def requeue_undelivered(task: Task, lost_before: int) -> None:
    """Put a locked, active task back as the same attempt, after a pause that grows with each lost delivery."""
    task.requeue()
    task.not_before = task.now + pause(lost_before + 1)


def lost_before(task: Task) -> int | None:
    """Return how many deliveries of a locked task were lost before this one; None where this one is an attempt."""
    rows = Task.objects.filter(NOT_DELIVERED, pk=task.pk).annotate(lost=lost_deliveries())
    return rows.values_list("lost", flat=True).first()
