"""Verifying times: no event is older than those written before it, nor younger than the seal that is over it.

Events are written in the order of their transactions' ids, and a transaction of the service is short. So, in the order
in which events are sealed, times fall by no more than the length of a transaction, whatever holds back the sealer.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from audit_app.chains import CLOCK_SLACK
from audit_app.findings import MOST, Finding
from audit_app.since import Since
from audit_app.snapshot import Raw
from audit_app.statement import FIRST_ERA, Place

LONGEST_TRANSACTION = timedelta(minutes=15)
"""How long a transaction of the service lasts at most: a batch of statements of ten seconds each."""

_START = Place(FIRST_ERA, 0, UUID(int=0))
_FINITE = "sealed_at >= '0001-01-01 00:00Z' AND sealed_at < '9999-01-01 00:00Z'"
_SEALS = f"""
SELECT last_era, last_xid::text, last_id, CASE WHEN {_FINITE} THEN sealed_at END FROM audit_seals ORDER BY number
"""
_RANGE = """
  (era, xid, id) > (%(after_era)s, %(after_xid)s::text::xid8, %(after_id)s)
  AND (%(last_era)s::int IS NULL
    OR (era, xid, id) <= (%(last_era)s::int, %(last_xid)s::text::xid8, %(last_id)s::uuid))
"""
_TIMELY = """
  timestamp BETWEEN coalesce(%(earliest)s::timestamptz, '-infinity')
    AND coalesce(%(sealed_at)s::timestamptz, CASE WHEN %(last_era)s::int IS NULL THEN clock_timestamp() END, 'infinity')
      + %(slack)s
"""
_LATEST = f"""
SELECT max(timestamp) FILTER (WHERE {_TIMELY} AND timestamp BETWEEN '0002-01-01 00:00Z' AND '9998-01-01 00:00Z'),
  count(*) FILTER (WHERE NOT {_TIMELY})
FROM audit_events WHERE {_RANGE}
"""
_UNTIMELY = f"""
SELECT subject_type, subject_id, seq, id FROM audit_events WHERE {_RANGE} AND NOT {_TIMELY}
ORDER BY era, xid, id LIMIT {MOST}
"""


class _Span(NamedTuple):
    """The events after one place and up to another; to the end of the trail without one."""

    after: Place
    last: Place | None
    sealed_at: datetime | None


def check_times(connection: Raw, *, since: Since | None) -> Iterator[Finding]:
    """Find the events with a time from before others that precede them, or from after their seal or the present."""
    latest: datetime | None = None
    skipped: _Span | None = None
    looked_at = since is None
    for span in _spans(connection):
        looked_at = looked_at or since is None or _begins(since, span)
        if not looked_at:
            skipped = span
            continue
        if skipped is not None:
            (latest, _), skipped = _judge(connection, skipped, None), None
        newest, untimely = _judge(connection, span, latest)
        if untimely:
            rows = connection.execute(_UNTIMELY, _values(span, latest)).fetchall()
            yield from (Finding("time", *row) for row in rows)
        latest = max(filter(None, (latest, newest)), default=None)


def _begins(since: Since, span: _Span) -> bool:
    if span.last is None or span.sealed_at is None:
        return True
    return since.begins_with(span.sealed_at, span.last)


def _spans(connection: Raw) -> Iterator[_Span]:
    """Return the events of each seal, then those that wait for one."""
    after = _START
    with connection.cursor("seal_times") as cursor:
        for era, xid, pk, sealed_at in cursor.execute(_SEALS):
            last = Place(era, int(xid), pk)
            yield _Span(after, last, sealed_at)
            after = last
    yield _Span(after, None, None)


def _judge(connection: Raw, span: _Span, latest: datetime | None) -> tuple[datetime | None, int]:
    """Return the latest of the times that are in order, and how many are not."""
    newest, untimely = connection.execute(_LATEST, _values(span, latest)).fetchone() or (None, 0)
    return newest, untimely


def _values(span: _Span, latest: datetime | None) -> dict[str, Any]:
    after, last = span.after, span.last
    return {
        "after_era": after.era,
        "after_xid": str(after.xid),
        "after_id": after.id,
        "last_era": None if last is None else last.era,
        "last_xid": None if last is None else str(last.xid),
        "last_id": None if last is None else last.id,
        "sealed_at": span.sealed_at,
        "earliest": None if latest is None else latest - LONGEST_TRANSACTION,
        "slack": CLOCK_SLACK,
    }
