"""Moving what is past its time: in batches, safe twice at once, and past a row that cannot be moved."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, QuerySet
from django.db.models.expressions import Combinable

from orchestrator import boundary
from orchestrator.actors import Actor, job
from orchestrator.maintenance import poison
from orchestrator.problems import ServiceUnavailable

BATCH = 200
MAX_RETRIES = 50
"""How many rows whose pause is over one sweep tries again, each by itself."""
MAX_TIMEOUTS = 5
"""So many rows in a row that take too long are no fault of theirs: the database is too slow, and the sweep ends."""

_BATCH_SECONDS = 3
"""How long one statement of a batch may take."""
_ROW_SECONDS = 1
"""How long one statement of a single row may take: a row that takes too long costs the others both times."""
_PATIENCE_SECONDS = 5.0
_NAP_SECONDS = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """One kind of row to move: under which name, which rows are due, in which order, and how a batch is moved.

    `move` runs in one transaction, judges again under the lock what is due, and says how many rows it moved. A row that
    cannot be moved is recorded under its `row_id`, a UUID.
    """

    job: str
    due: Callable[[Actor], QuerySet[Any]]
    move: Callable[[QuerySet[Any], Actor], int]
    row_id: Combinable = field(default_factory=lambda: F("pk"))

    @property
    def actor(self) -> Actor:
        """Who the trail says did it."""
        return job(self.job)

    def rows(self) -> QuerySet[Any]:
        """Return what is due."""
        rows: QuerySet[Any] = self.due(self.actor).alias(swept_as=self.row_id)
        return rows

    def movable(self) -> QuerySet[Any]:
        """Return what is due, except for the rows that could not be moved before."""
        return poison.without(self.rows(), self.job, "swept_as")


@dataclass
class Outcome:
    """What a sweep did: how many rows it moved, and which that are due it could not move now or before, and why."""

    moved: int = 0
    poison: dict[UUID, str] = field(default_factory=dict)


def count_due(duty: Duty) -> int:
    """How many rows are due. Raises ServiceUnavailable where the database is away."""
    return boundary.read(duty.rows().count)


def sweep(duty: Duty, *, limit: int | None = None, progress: Callable[[int], object] = lambda _count: None) -> Outcome:
    """Move every row that is due, or `limit` of them; tell `progress` how many after each batch.

    A batch that fails is gone through row by row, so that one row that cannot be moved, or takes too long, stops no
    other. Such a row is tried again by itself after a pause that doubles each time. Rows that another sweep holds are
    waited for, since it may be killed before it commits: nothing is left when this returns but the rows that could not
    be moved, or what somebody holds for longer than five seconds.

    Raises ServiceUnavailable where the database is away or too slow.
    """
    outcome = Outcome()
    patience = time.monotonic() + _PATIENCE_SECONDS
    while limit is None or outcome.moved < limit:
        size = BATCH if limit is None else min(BATCH, limit - outcome.moved)
        count = _batch(duty, size)
        if count:
            outcome.moved += count
            patience = time.monotonic() + _PATIENCE_SECONDS
            progress(count)
        elif time.monotonic() > patience or not boundary.read(duty.movable().exists):
            break
        else:
            time.sleep(_NAP_SECONDS)
    if count := _try_again(duty, outcome, limit):
        outcome.moved += count
        progress(count)
    return outcome


def _batch(duty: Duty, size: int) -> int:
    """Move one batch. How many rows moved."""
    try:
        return _move(duty, duty.movable()[:size], _BATCH_SECONDS)
    except ServiceUnavailable as problem:
        if not boundary.is_too_long(problem):
            raise
        log.warning("a batch took too long and is gone through row by row", extra={"job": duty.job})
    except Exception:
        log.exception("a batch failed and is gone through row by row", extra={"job": duty.job})
    chosen = boundary.read(lambda: list(_ids(duty.movable())[:size]))
    return _one_by_one(duty, chosen)


def _try_again(duty: Duty, outcome: Outcome, limit: int | None) -> int:
    """Try the rows whose pause is over, each by itself. How many moved.

    The outcome names those that are still due; the others are forgotten.
    """
    known = poison.known(duty.job)
    if not known:
        return 0
    most = MAX_RETRIES if limit is None else min(MAX_RETRIES, limit - outcome.moved)
    moved = _one_by_one(duty, [one.row_id for one in known if one.is_to_retry][:most])
    due = duty.rows().filter(swept_as__in=[one.row_id for one in known])
    still_due = set(boundary.read(lambda: list(_ids(due))))
    poison.forget(duty.job, [one.row_id for one in known if one.row_id not in still_due])
    outcome.poison = {one.row_id: one.error for one in poison.known(duty.job)}
    return moved


def _one_by_one(duty: Duty, row_ids: list[UUID]) -> int:
    """Move these rows, each in a transaction of its own, and record those that cannot be moved. How many moved.

    Raises ServiceUnavailable where the database is away, or too many rows in a row take too long.
    """
    moved = timeouts = 0
    for row_id in row_ids:
        try:
            moved += _move(duty, duty.rows().filter(swept_as=row_id)[:1], _ROW_SECONDS)
            timeouts = 0
        except ServiceUnavailable as problem:
            if not boundary.is_too_long(problem):
                raise
            log.warning("a row takes too long", extra={"job": duty.job, "row": str(row_id)})
            poison.record(duty.job, row_id, "It takes too long.")
            timeouts += 1
            if timeouts >= MAX_TIMEOUTS:
                raise
        except Exception as error:
            log.exception("a row cannot be moved", extra={"job": duty.job, "row": str(row_id)})
            poison.record(duty.job, row_id, f"{type(error).__name__}: {error}".splitlines()[0])
            timeouts = 0
    return moved


def _ids(rows: QuerySet[Any]) -> QuerySet[Any, UUID]:
    # An alias is not selected.
    ids: QuerySet[Any, UUID] = rows.annotate(sweep_id=F("swept_as")).values_list("sweep_id", flat=True)
    return ids


def _move(duty: Duty, chosen: QuerySet[Any], seconds: int) -> int:
    """One transaction. The condition is judged again under the lock: a row that moved meanwhile is passed over."""

    def work() -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{seconds}s'")
        return duty.move(chosen, duty.actor)

    return boundary.write(work)
