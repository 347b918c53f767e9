"""The tasks that somebody may claim now, in the order in which they are claimed."""

from collections.abc import Collection, Sequence

from django.db import connection
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from orchestrator.actors import Actor
from sessions_app import permissions
from sessions_app.models import Task
from sessions_app.models.task import TaskStatus

ORDER = ("-priority", "created_at", "id")
"""Highest priority first, then oldest."""

NEAR = 500
"""How far into the queue a claim for several roles looks: more than others can hold at once."""

_DUE = (
    "status = 'pending' AND (not_before IS NULL OR not_before <= statement_timestamp())"
    " AND (deadline IS NULL OR deadline > statement_timestamp())"
)
# One ordered walk for each role: asked for all roles at once, PostgreSQL would sort all that waits for any of them.
# An array, and not a join: what waits now is seldom what the statistics say, and a join that is planned for one row
# walks the queue again for each of two thousand.
_NEAREST = f"""
id = ANY(ARRAY(
  SELECT near.id FROM unnest(%s::text[]) AS asked(role) CROSS JOIN LATERAL (
    SELECT id, priority, created_at FROM tasks WHERE tenant = %s AND to_role = asked.role AND {_DUE}
      AND (%s::text[] IS NULL OR task_type = ANY(%s))
    ORDER BY priority DESC, created_at, id LIMIT {NEAR}) AS near
  ORDER BY near.priority DESC, near.created_at, near.id LIMIT {NEAR}))
"""

_WAITING = f"""
SELECT asked.n, (SELECT count(*) FROM (
  SELECT FROM tasks WHERE tenant = asked.tenant AND to_role = asked.role AND {_DUE}
    AND (asked.task_type IS NULL OR task_type = asked.task_type) LIMIT {NEAR}) AS nearest)
FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[]) AS asked(n, tenant, role, task_type) ORDER BY asked.n
"""


def claimable(actor: Actor, roles: Collection[str], task_types: Collection[str] | None, most: int) -> QuerySet[Task]:
    """What this actor may claim of these roles, and of these types where they are named: `most` tasks at the most."""
    due = Q(not_before__isnull=True) | Q(not_before__lte=Now())
    rows = permissions.visible(Task, actor).filter(due, status=TaskStatus.PENDING, tenant=actor.tenant)
    rows = rows.filter(Q(deadline__isnull=True) | Q(deadline__gt=Now()))
    if task_types is not None:
        rows = rows.filter(task_type__in=task_types)
    if len(roles) == 1:
        return rows.filter(to_role=next(iter(roles))).order_by(*ORDER)[:most]
    types = None if task_types is None else list(task_types)
    nearest = RawSQL(_NEAREST, [list(roles), actor.tenant, types, types], BooleanField())  # noqa: S611  no input in it
    return rows.filter(nearest).order_by(*ORDER)[:most]


def waiting_for(asked: Sequence[tuple[str, str, str | None]]) -> list[int]:
    """How many tasks wait for each tenant, role and type (None is any), up to NEAR of each; one query."""
    columns = zip(*((n, *one) for n, one in enumerate(asked)), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [list(column) for column in columns])
        return [count for _, count in cursor.fetchall()]
