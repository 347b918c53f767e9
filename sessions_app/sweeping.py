"""Moving what is past its time: in batches, safe twice at once, and past a row that cannot be moved."""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from orchestrator import boundary
from orchestrator.actors import Actor, job
from orchestrator.problems import ServiceUnavailable

BATCH = 200
_PATIENCE_SECONDS = 5.0
_NAP_SECONDS = 0.05

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """One kind of row to move: under which name, which rows are due, in which order, and how a batch is moved.

    `move` runs in one transaction, judges again under the lock what is due, and says how many rows it moved.
    """

    job: str
    due: Callable[[Actor], QuerySet[Any]]
    move: Callable[[QuerySet[Any], Actor], int]

    @property
    def actor(self) -> Actor:
        """Who the trail says did it."""
        return job(self.job)

    def rows(self, beside: Collection[UUID] = ()) -> QuerySet[Any]:
        """What is due, but for these rows."""
        rows = self.due(self.actor)
        return rows.exclude(pk__in=beside) if beside else rows


@dataclass
class Outcome:
    """What a sweep did: how many rows it moved, and which it could not and why."""

    moved: int = 0
    poison: dict[UUID, str] = field(default_factory=dict)


def count_due(duty: Duty) -> int:
    """How many rows are due. Raises ServiceUnavailable where the database is away."""
    return boundary.read(duty.rows().count)


def sweep(duty: Duty, *, limit: int | None = None, progress: Callable[[int], object] = lambda _count: None) -> Outcome:
    """Move every row that is due, or `limit` of them; tell `progress` how many after each batch.

    A batch that fails is gone through row by row, so that one row that cannot be moved stops no other. Rows that
    another sweep holds are waited for, since it may be killed before it commits: nothing is left when this returns but
    the poison, or what somebody holds for longer than five seconds.

    Raises ServiceUnavailable where the database is away.
    """
    outcome = Outcome()
    patience = time.monotonic() + _PATIENCE_SECONDS
    while limit is None or outcome.moved < limit:
        size = BATCH if limit is None else min(BATCH, limit - outcome.moved)
        count = _batch(duty, size, outcome.poison)
        if count:
            outcome.moved += count
            patience = time.monotonic() + _PATIENCE_SECONDS
            progress(count)
        elif time.monotonic() > patience or not boundary.read(duty.rows(outcome.poison).exists):
            break
        else:
            time.sleep(_NAP_SECONDS)
    return outcome


def _batch(duty: Duty, size: int, poison: dict[UUID, str]) -> int:
    """Move one batch. How many rows moved."""
    try:
        return _move(duty, duty.rows(poison)[:size])
    except ServiceUnavailable:
        raise
    except Exception:
        log.exception("a batch failed and is gone through row by row", extra={"job": duty.job})
    chosen = boundary.read(lambda: list(duty.rows(poison).values_list("pk", flat=True)[:size]))
    return sum(_single(duty, pk, poison) for pk in chosen)


def _single(duty: Duty, pk: UUID, poison: dict[UUID, str]) -> int:
    try:
        return _move(duty, duty.rows().filter(pk=pk)[:1])
    except ServiceUnavailable:
        raise
    except Exception as error:
        log.exception("a row cannot be moved", extra={"job": duty.job, "row": str(pk)})
        poison[pk] = f"{type(error).__name__}: {error}".splitlines()[0]
        return 0


def _move(duty: Duty, chosen: QuerySet[Any]) -> int:
    """One transaction. The condition is judged again under the lock: a row that moved meanwhile is passed over."""
    return boundary.write(lambda: duty.move(chosen, duty.actor))
