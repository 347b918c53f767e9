"""Refused attempts that matter are recorded, outside every chain: they move no row's version.

The first refusal of a kind, by one actor on one row, is an event. What is refused again within the same minute is
counted, and recorded as one event with that count. So whoever repeats a refused call adds two events a minute, and none
of the calls is lost.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection
from django.db.models import QuerySet

from audit_app import trail
from audit_app.trail import Action, Event, Link, instant
from orchestrator.actors import Actor, Identity, Kind, Origin, Via
from orchestrator.canonical import dumps
from orchestrator.clock import database_now
from orchestrator.problems import Forbidden, Problem
from sessions_app.models import Recorded, RefusalCount
from sessions_app.transitions.change import insist_on_boundary

Refused = TypeVar("Refused", bound=Problem)

_WORDS = {
    "session": Action.SESSION_REFUSED,
    "task": Action.TASK_REFUSED,
    "approval": Action.APPROVAL_REFUSED,
}

_COLUMNS = (
    *("key", "event_type", "tenant", "subject_type", "subject_id", "role", "reason", "attempted", "version"),
    *("actor_issuer", "actor_subject", "actor_kind", "on_behalf_of_issuer", "on_behalf_of_subject"),
    *("via", "request_id", "trace_id", "ip"),
)
_LAST = ("version", "via", "request_id", "trace_id", "ip")
"""What is kept of the last of several refusals."""

_COUNT = f"""
INSERT INTO refusal_counts AS counted (minute, first_at, last_at, {", ".join(_COLUMNS)})
SELECT date_trunc('minute', now.at), now.at, now.at, {", ".join(["%s"] * len(_COLUMNS))}
FROM (SELECT clock_timestamp() AS at) AS now
ON CONFLICT (minute, key) DO UPDATE SET repeated = counted.repeated + 1,
  last_at = greatest(counted.last_at, excluded.last_at),
  {", ".join(f"{name} = excluded.{name}" for name in _LAST)}
RETURNING repeated, clock_timestamp()
"""
_DELETE = """
DELETE FROM refusal_counts WHERE (minute, key) IN (SELECT * FROM unnest(%s::timestamptz[], %s::bytea[]))
"""


@contextmanager
def remembering(row: Recorded, attempted: str, *, actor: Actor) -> Iterator[None]:
    """Whoever sees a row and is refused the right to move it is remembered. Raises that Forbidden, remembered."""
    try:
        yield
    except Forbidden as refusal:
        raise remembered(refusal, row, attempted, actor=actor) from refusal


def remembered(refusal: Refused, row: Recorded, attempted: str, *, actor: Actor) -> Refused:
    """Return the refusal, which is recorded or counted once everything else of its transaction is rolled back.

    `attempted` is the verb that was refused; the event's reason is the refusal's slug.
    """

    def record() -> None:
        repeated, at = _count(row, attempted, refusal.slug, actor)
        if repeated:
            return
        event = Event(
            action=_WORDS[row.NOUN],
            tenant=row.tenant,
            subject_type=row.NOUN,
            subject_id=row.pk,
            actor=actor,
            at=at,
            role=row.trail_role,
            reason=refusal.slug,
            changes={"attempted": attempted, "version": row.version},
        )
        trail.record(trail.link(event))

    refusal.afterwards = record
    return refusal


def record_many(rows: QuerySet[RefusalCount]) -> tuple[int, int]:
    """Record and delete the counts of a query. Return how many counts, and of how many refusals.

    In a write boundary only. Counts that another process is recording are skipped.
    """
    insist_on_boundary()
    counts = list(rows.select_for_update(skip_locked=True))
    if not counts:
        return 0, 0
    at = database_now()
    if links := [_repeated(count, at) for count in counts if count.repeated]:
        trail.record_many(links)
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, [[count.minute for count in counts], [bytes(count.key) for count in counts]])
    return len(counts), sum(count.repeated for count in counts)


def _count(row: Recorded, attempted: str, slug: str, actor: Actor) -> tuple[int, datetime]:
    """Count a refusal. Return how many like it came before in this minute, and the time: one statement."""
    behalf, origin = actor.on_behalf_of, actor.origin
    who: list[Any] = [actor.identity.issuer, actor.identity.subject, str(actor.kind)]
    person = [None, None] if behalf is None else [behalf.issuer, behalf.subject]
    key = hashlib.sha256(dumps([row.tenant, row.NOUN, str(row.pk), attempted, slug, *who, *person])).digest()
    what: list[Any] = [
        key,
        str(_WORDS[row.NOUN]),
        row.tenant,
        row.NOUN,
        row.pk,
        row.trail_role,
        slug,
        attempted,
        row.version,
    ]
    last: list[Any] = [str(origin.via), origin.request_id, origin.trace_id, origin.ip]
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [*what, *who, *person, *last])
        repeated, at = cursor.fetchone()
    return repeated, at


def _repeated(count: RefusalCount, at: datetime) -> Link:
    """Return the event that stands for the further refusals of a minute."""
    origin = Origin(Via(count.via), count.request_id, count.trace_id, count.ip)
    event = Event(
        action=_WORDS[count.subject_type],
        tenant=count.tenant,
        subject_type=count.subject_type,
        subject_id=count.subject_id,
        actor=Actor(
            identity=Identity(count.actor_issuer, count.actor_subject),
            tenant=count.tenant,
            kind=Kind(count.actor_kind),
            origin=origin,
            on_behalf_of=Identity.if_any(count.on_behalf_of_issuer, count.on_behalf_of_subject),
        ),
        at=at,
        role=count.role,
        reason=count.reason,
        changes={
            "attempted": count.attempted,
            "version": count.version,
            "repeated": count.repeated,
            "first_at": instant(count.first_at),
            "last_at": instant(count.last_at),
        },
    )
    return trail.link(event)
