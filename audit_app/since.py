"""What came since a moment: from the first event of that time on, whatever the clock said afterwards.

A clock may be set back, and an event that was written later then has an earlier time. So time only says where to begin;
what comes after that is told by the order in which events are sealed, and within a chain by its numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit_app.snapshot import Raw
from audit_app.statement import Place

_FIRST = """
SELECT era, xid::text AS written, id FROM audit_events WHERE timestamp >= %s ORDER BY era, xid, id LIMIT 1
"""
# A writer that waited for a row has an older transaction than the one it waited for: so chains are read on by number.
# Of each chain one event more, the last before: without it nobody saw that some between the two are missing.
_EVENTS = """
id IN (
  SELECT id FROM audit_events WHERE (era, xid, id) >= (%s, %s::text::xid8, %s)
  UNION ALL
  SELECT further.id FROM (
    SELECT subject_type, subject_id, min(seq) AS first FROM audit_events
    WHERE (era, xid, id) >= (%s, %s::text::xid8, %s) AND seq IS NOT NULL GROUP BY subject_type, subject_id
  ) AS begun JOIN audit_events AS further USING (subject_type, subject_id) WHERE further.seq >= begun.first - 1)
"""


@dataclass(frozen=True, slots=True)
class Since:
    """A moment, and the place of the first event that has this time or a later one; None where there is none."""

    at: datetime
    first: Place | None

    def events(self) -> tuple[str, Sequence[Any]]:
        """Which events come after it, as SQL and its values."""
        if self.first is None:
            return "FALSE", []
        return _EVENTS, [self.first.era, str(self.first.xid), self.first.id] * 2

    def before(self) -> tuple[str, Sequence[Any]]:
        """Which events were written before it, as SQL and its values."""
        if self.first is None:
            return "FALSE", []
        return "(era, xid, id) < (%s, %s::text::xid8, %s)", [self.first.era, str(self.first.xid), self.first.id]

    def begins_with(self, sealed_at: datetime, last: Place) -> bool:
        """Whether a seal is of this time, or has an event that comes after. If so, all later seals are looked at."""
        return sealed_at >= self.at or (self.first is not None and last >= self.first)


def since(at: datetime, connection: Raw) -> Since:
    """What came since a moment, as the trail stands."""
    row = connection.execute(_FIRST, [at]).fetchone()
    return Since(at, Place(row[0], int(row[1]), row[2]) if row else None)
