"""Rows that a maintenance job cannot move: left alone for a while, then tried again by themselves, ever more rarely.

They are kept in the database, so that the next process knows them too: from cron each run is a new one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Exists, Model, OuterRef, QuerySet

from orchestrator import boundary
from orchestrator.maintenance.models import PoisonRow

MAX_LISTED = 1000
"""How many rows of a job one round looks at. What is beyond stays left alone, and is counted."""

FIRST_PAUSE_SECONDS = 30
LONGEST_PAUSE_SECONDS = 3600
MAX_ERROR_LENGTH = 500

Row = TypeVar("Row", bound=Model)

# The power is bounded too: 2 to the number of failures would overflow one day.
_RECORD = f"""
INSERT INTO maintenance_poison_rows AS known (job, row_id, failures, retry_at, error)
VALUES (%s, %s, 1, clock_timestamp() + make_interval(secs => {FIRST_PAUSE_SECONDS}), %s)
ON CONFLICT (job, row_id) DO UPDATE SET failures = known.failures + 1, error = excluded.error,
  retry_at = clock_timestamp() + make_interval(
    secs => least({FIRST_PAUSE_SECONDS} * power(2, least(known.failures, 20)), {LONGEST_PAUSE_SECONDS}))
"""
_KNOWN = """
SELECT row_id, error, retry_at <= clock_timestamp() FROM maintenance_poison_rows
WHERE job = %s ORDER BY retry_at LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Poison:
    """A row that could not be moved, why, and whether its pause is over."""

    row_id: UUID
    error: str
    is_to_retry: bool


def without(rows: QuerySet[Row], job: str, row_id: str = "pk") -> QuerySet[Row]:
    """Return the rows of a query that the job could move when it last tried, or did not try yet.

    `row_id` names the field, or the alias, that holds the id of each row.
    """
    return rows.filter(~Exists(PoisonRow.objects.filter(job=job, row_id=OuterRef(row_id))))


def known(job: str) -> list[Poison]:
    """Return the rows that the job could not move, those to retry first. Raises ServiceUnavailable."""

    def read() -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(_KNOWN, [job, MAX_LISTED])
            return list(cursor.fetchall())

    return [Poison(*row) for row in boundary.read(read)]


def record(job: str, row_id: UUID, error: str) -> None:
    """Record that a row could not be moved, and pause twice as long as the last time. Raises ServiceUnavailable."""

    def write() -> None:
        with connection.cursor() as cursor:
            # PostgreSQL has no NUL in a text.
            cursor.execute(_RECORD, [job, row_id, error.replace("\0", "")[:MAX_ERROR_LENGTH]])

    boundary.write(write)


def forget(job: str, row_ids: Collection[UUID]) -> None:
    """Forget rows that were moved or are not due any more. Raises ServiceUnavailable where the database is away."""
    if row_ids:
        boundary.write(lambda: PoisonRow.objects.filter(job=job, row_id__in=row_ids).delete())
