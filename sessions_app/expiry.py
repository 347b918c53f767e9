"""Expiring what is past its time: in batches, safe twice at once, and past a row that cannot be expired."""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now

from audit_app.trail import Action
from orchestrator import boundary
from orchestrator.actors import Actor, job
from orchestrator.problems import ServiceUnavailable
from sessions_app import permissions
from sessions_app.models import Session
from sessions_app.models.session import SessionStatus
from sessions_app.transitions.batch import change_many

BATCH = 200
REASON = "Its time passed."
_PATIENCE_SECONDS = 5.0
_NAP_SECONDS = 0.05

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What a sweep did: how many it expired, and which it could not and why."""

    expired: int = 0
    poison: dict[UUID, str] = field(default_factory=dict)


def due(actor: Actor, beside: Collection[UUID] = ()) -> QuerySet[Session]:
    """The sessions whose time has passed, by the database's clock, the longest overdue first."""
    open_ones = [SessionStatus.PENDING, SessionStatus.ACTIVE]
    rows = permissions.visible(Session, actor).filter(status__in=open_ones, expires_at__lte=Now())
    return rows.exclude(pk__in=beside) if beside else rows


def count_due() -> int:
    """How many sessions are due. Raises ServiceUnavailable where the database is away."""
    return boundary.read(due(job("expire_sessions")).count)


def expire_due(*, limit: int | None = None, progress: Callable[[int], object] = lambda _count: None) -> Outcome:
    """Expire every session that is due, or `limit` of them; tell `progress` how many after each batch.

    A batch that fails is gone through row by row, so that one row that cannot be expired stops no other. Rows that
    another sweep holds are waited for, since it may be killed before it commits: nothing is left when this returns but
    the poison, or what somebody holds for longer than five seconds.

    Raises ServiceUnavailable where the database is away.
    """
    actor, outcome = job("expire_sessions"), Outcome()
    patience = time.monotonic() + _PATIENCE_SECONDS
    while limit is None or outcome.expired < limit:
        size = BATCH if limit is None else min(BATCH, limit - outcome.expired)
        count = _batch(actor, size, outcome.poison)
        if count:
            outcome.expired += count
            patience = time.monotonic() + _PATIENCE_SECONDS
            progress(count)
        elif time.monotonic() > patience or not boundary.read(due(actor, outcome.poison).exists):
            break
        else:
            time.sleep(_NAP_SECONDS)
    return outcome


def _batch(actor: Actor, size: int, poison: dict[UUID, str]) -> int:
    """Expire one batch. How many rows moved."""
    try:
        return _expire(due(actor, poison), size, actor)
    except ServiceUnavailable:
        raise
    except Exception:
        log.exception("a batch failed and is gone through row by row")
    ids = due(actor, poison).order_by("expires_at").values_list("pk", flat=True)[:size]
    chosen = boundary.read(lambda: list(ids))
    return sum(_single(actor, pk, poison) for pk in chosen)


def _single(actor: Actor, pk: UUID, poison: dict[UUID, str]) -> int:
    try:
        return _expire(due(actor).filter(pk=pk), 1, actor)
    except ServiceUnavailable:
        raise
    except Exception as error:
        log.exception("a session cannot be expired", extra={"session_id": str(pk)})
        poison[pk] = f"{type(error).__name__}: {error}".splitlines()[0]
        return 0


def _expire(rows: QuerySet[Session], size: int, actor: Actor) -> int:
    """One transaction. The condition is judged again under the lock: a session that moved meanwhile is passed over."""

    def work() -> int:
        chosen = rows.order_by("expires_at")[:size]
        with change_many(chosen, Action.SESSION_EXPIRED, actor=actor, reason=REASON) as batch:
            for session in batch:
                session.expire()
                session.reason = REASON
        return len(batch)

    return boundary.write(work)
