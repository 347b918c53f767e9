"""What callers of the work wait for: a task to claim, or a row that moves on."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import connection

from orchestrator.waiting import Demand, Waiters
from sessions_app.models import Recorded
from sessions_app.queue import waiting_for


@dataclass(frozen=True, slots=True)
class Claimable:
    """A pending task of a tenant for a role; of one type, where it is named."""

    tenant: str
    role: str
    task_type: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A row that is at another version, or gone."""

    model: type[Recorded]
    id: UUID
    version: int


def look(asked: Mapping[Demand, int]) -> dict[Demand, int]:
    """How many have something to come back for: one query for all claims, one for each kind of row."""
    claims = [demand for demand in asked if isinstance(demand, Claimable)]
    rows = [demand for demand in asked if isinstance(demand, Moved)]
    found: dict[Demand, int] = {}
    if claims:
        found.update(_claimable(claims))
    for model in {row.model for row in rows}:
        found.update((row, asked[row]) for row in _moved(model, [row for row in rows if row.model is model]))
    return found


def _claimable(claims: Collection[Claimable]) -> Iterable[tuple[Claimable, int]]:
    counts = waiting_for([(one.tenant, one.role, one.task_type) for one in claims])
    return zip(claims, counts, strict=True)


def _moved(model: type[Recorded], rows: Collection[Moved]) -> Collection[Moved]:
    with connection.cursor() as cursor:
        ids = [row.id for row in rows]
        cursor.execute(f'SELECT id, version FROM "{model._meta.db_table}" WHERE id = ANY(%s)', [ids])
        versions = dict(cursor.fetchall())
    return [row for row in rows if versions.get(row.id) != row.version]


@cache
def waiters() -> Waiters:
    """This process's."""
    return Waiters(look, most=settings.MOST_WAITING)
