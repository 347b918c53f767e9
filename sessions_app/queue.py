"""The tasks that somebody may claim now, in the order in which they are claimed."""

from collections.abc import Collection, Sequence
from typing import Any

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

NEAR = 200
"""How far into the queue a claim looks at first."""
FAR = 10_000
"""And how far once it found less than it wanted though there is more: the first ones are just being taken by others."""
_MANY = 1_000

# Beside what never had to wait stands what had to and may begin now: one index has the former in its order, another the
# latter by its time, so that nobody walks over what still has to wait, however much that is.
_AT_ONCE, _BEGUN = "not_before IS NULL", "not_before <= statement_timestamp()"


def _pending(columns: str, begins: str, of_type: str) -> str:
    """The pending tasks for a role that is asked for, within their deadline."""
    return (
        f"SELECT {columns} FROM tasks WHERE tenant = asked.tenant AND to_role = asked.role AND status = 'pending'"
        f" AND {begins} AND {of_type} AND (deadline IS NULL OR deadline > statement_timestamp())"
    )


# The next ones of each role; asked for all roles at once, PostgreSQL would sort all that waits for any of them. What
# had to wait and may begin now is taken as a whole and sorted; where that is much, a third index has it in the order of
# claims, among what still has to wait.
_PLACE, _SORTED = "id, priority, created_at", "ORDER BY priority DESC, created_at, id"
_NEXT = f"{_SORTED} LIMIT %s"
_NAMED = "(asked.types IS NULL OR task_type = ANY(asked.types))"
# A person does not do what they decided about, under any of their linked identities, nor does an agent for them: see
# `transitions.lease.claim()`. As a value, and not as a condition that PostgreSQL could turn into a join with all
# decisions there are; and of what comes first until there is enough, which is why it is sorted before.
_DECIDED = """
COALESCE((SELECT TRUE FROM approvals a JOIN approval_decisions d ON d.approval_id = a.id
  CROSS JOIN LATERAL people_same(near.of_tenant, d.decider_issuer, d.decider_subject) AS one
  WHERE a.task_id = near.id
    AND (one.issuer, one.subject) IN ((near.issuer, near.subject), (near.for_issuer, near.for_subject))
  LIMIT 1), FALSE)"""
# An array, and not a join: what waits now is seldom what the statistics say, and a join that is planned for one row
# walks the queue again for each of two thousand.
_NEAREST = f"""
tasks.id = ANY(ARRAY(SELECT near.id FROM (
  SELECT there.*, asked.tenant AS of_tenant, asked.issuer, asked.subject, asked.for_issuer, asked.for_subject
  FROM (unnest(%s::text[]) AS each(role)
    CROSS JOIN (SELECT %s::text, %s::text[], %s::text, %s::text, %s::text, %s::text)
    AS given(tenant, types, issuer, subject, for_issuer, for_subject)) AS asked
  CROSS JOIN LATERAL (
    WITH begun AS ({_pending(_PLACE, _BEGUN, _NAMED)} ORDER BY not_before LIMIT {_MANY})
    ({_pending(_PLACE, _AT_ONCE, _NAMED)} {_NEXT})
    UNION (TABLE begun)
    UNION ({_pending(_PLACE, _BEGUN, _NAMED)} AND (SELECT count(*) FROM begun) = {_MANY} {_NEXT})
  ) AS there {_SORTED} OFFSET 0
) AS near WHERE NOT {_DECIDED} {_NEXT}))
"""

_WAITS = " UNION ALL ".join(
    _pending("", begins, of_type)
    for begins in (_AT_ONCE, _BEGUN)
    for of_type in ("asked.task_type IS NULL", "task_type = asked.task_type")
)
_WAITING = f"""
SELECT (SELECT count(*) FROM ({_WAITS} LIMIT {NEAR}) AS waits)
FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[]) AS asked(n, tenant, role, task_type) ORDER BY asked.n
"""


def claimable(
    actor: Actor, roles: Collection[str], task_types: Collection[str] | None, most: int, *, far: int = NEAR
) -> QuerySet[Task]:
    """What this actor may claim of these roles, and of these types where they are named: `most` tasks at the most, of
    the `far` that come first.

    Not among them is what they decided about, or the person they act for.
    """
    due = Q(not_before__isnull=True) | Q(not_before__lte=Now())
    rows = permissions.visible(Task, actor).filter(due, status=TaskStatus.PENDING, tenant=actor.tenant)
    rows = rows.filter(Q(deadline__isnull=True) | Q(deadline__gt=Now()))
    if task_types is not None:
        rows = rows.filter(task_type__in=task_types)
    who, person = actor.identity, actor.on_behalf_of
    asked: list[Any] = [
        list(roles),
        actor.tenant,
        None if task_types is None else list(task_types),
        who.issuer,
        who.subject,
    ]
    asked += [None, None] if person is None else [person.issuer, person.subject]
    asked += [far] * _NEAREST.count(_NEXT)
    nearest = RawSQL(_NEAREST, asked, BooleanField())  # noqa: S611  no input in it
    return rows.filter(nearest).order_by(*ORDER)[:most]


def waiting_for(asked: Sequence[tuple[str, str, str | None]]) -> list[int]:
    """How many tasks wait for each tenant, role and type (None is any), up to NEAR of each; one query."""
    columns = zip(*((n, *one) for n, one in enumerate(asked)), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [list(column) for column in columns])
        return [count for (count,) in cursor.fetchall()]


def is_long(asked: Sequence[tuple[str, str, str | None]]) -> bool:
    """Whether more waits than a claim looks at at first."""
    return sum(waiting_for(asked)) >= NEAR
