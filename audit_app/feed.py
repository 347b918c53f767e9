"""The feed: events in the order (era, xid, id) of their transactions, up to the horizon.

The horizon is the oldest transaction that is still running. What lies below it is final: no event can appear there any
more, so a reader who follows cursors gets every event once and misses none. See docs/api/audit.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from prometheus_client.core import Metric

from audit_app import eras
from audit_app.models import AuditEvent
from orchestrator import moments
from orchestrator.measuring import gauge

_MARGIN = "interval '12 minutes'"
"""By how much the times of two events can contradict the order of their transactions.

The database refuses events of transactions older than ten minutes (audit_events_of_young_transactions), and events
whose time is a minute away from its clock.
"""
_HORIZON = f"({eras.PRESENT}, pg_snapshot_xmin(pg_current_snapshot()))"
# Scalars, and not one subquery of a row: PostgreSQL goes by an index only for those.
_LAST_BEFORE = f"""
(SELECT e.{{}} FROM audit_events e WHERE e.tenant = %s AND e.timestamp < %s - {_MARGIN}
 ORDER BY e.timestamp DESC, e.id DESC LIMIT 1)
"""
_FIRST_AFTER = f"""
(SELECT e.{{}} FROM audit_events e WHERE e.tenant = %s AND e.timestamp >= %s + {_MARGIN}
 ORDER BY e.timestamp, e.id LIMIT 1)
"""
_FROM = f"(era, xid) >= (coalesce({_LAST_BEFORE.format('era')}, 0), coalesce({_LAST_BEFORE.format('xid')}, '0'::xid8))"
_UNTIL = (
    f"(era, xid) <= (coalesce({_FIRST_AFTER.format('era')}, 2147483647),"
    f" coalesce({_FIRST_AFTER.format('xid')}, '18446744073709551615'::xid8))"
)
_LAG = f"""
SELECT extract(epoch FROM clock_timestamp() - timestamp)::float FROM audit_events
WHERE (era, xid) >= {_HORIZON} ORDER BY era, xid, id LIMIT 1
"""


class _Written:
    """The order in which transactions began to write; events of one transaction are told apart by their ids."""

    keys = ("era", "xid", "id")

    def mark(self, row: Any) -> list[Any]:
        """Return the place of an event."""
        return [row.era, row.xid, row.id.hex]

    def beyond(self, mark: Sequence[Any]) -> RawSQL:
        """Return the condition to come after a place."""
        era, xid, pk = mark
        return _condition("(era, xid, id) > (%s, %s::text::xid8, %s)", [era, str(xid), UUID(pk)])


ORDER = _Written()


def settled(rows: QuerySet[AuditEvent], filters: Mapping[str, str], tenant: str) -> QuerySet[AuditEvent]:
    """Return those of the events that no running transaction can precede.

    `filters` have been read already; their times become places, so that a walk of last week does not read all years.
    """
    found = rows.filter(_condition(f"(era, xid) < {_HORIZON}"))
    for name, sql in (("after", _FROM), ("before", _UNTIL)):
        if name in filters and (moment := moments.read(filters[name])):
            found = found.filter(_condition(sql, [tenant, moment] * 2))
    return found


def measured() -> Iterator[Metric]:
    """Measure how far the feed is behind. Raises what the database raises."""
    with connection.cursor() as cursor:
        cursor.execute(_LAG)
        row = cursor.fetchone()
    lag = gauge("audit_feed_lag_seconds", "How long the oldest event that is not in the feed yet is there.")
    lag.add_metric([], max(0.0, float(row[0])) if row else 0.0)
    yield lag


def _condition(sql: str, values: Sequence[Any] = ()) -> RawSQL:
    return RawSQL(sql, values, models.BooleanField())  # noqa: S611
