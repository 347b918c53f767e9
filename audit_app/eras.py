"""Eras: a dump that is restored into a new cluster finds its transaction ids begun anew.

Events are sealed in the order of their transactions' ids. What is written in the new cluster would stand among what
was sealed in the old one, were it not of a later era: the owner begins one, after the restore and before anyone writes.
"""

from django.db import connection
from django.db.backends.utils import CursorWrapper

from orchestrator.database_term import PRESENT_ERA

PRESENT = PRESENT_ERA
"""The era that events are written in, as SQL: the default of their column."""

# No cluster of its own has an event by a transaction that is yet to begin.
_BEHIND = f"""
SELECT EXISTS (SELECT FROM audit_events WHERE era = {PRESENT} AND xid >= pg_snapshot_xmax(pg_current_snapshot()))
"""
# What was written since the restore and before the era began: newer than the last seal, and in a place below it.
_STRAY = """
UPDATE audit_events e SET era = %s FROM (SELECT * FROM audit_seals ORDER BY number DESC LIMIT 1) last
WHERE (e.era, e.xid, e.id) <= (last.last_era, last.last_xid, last.last_id) AND e.timestamp > last.sealed_at
"""


def has_to_begin(cursor: CursorWrapper) -> bool:
    """Whether the newest events are of another cluster, and no era was begun in this one."""
    cursor.execute(_BEHIND)
    return bool(cursor.fetchone()[0])


def begin() -> int:
    """Begin an era; its number. What was written since the restore comes to stand in it. In a write boundary only.

    For the owner of the tables alone: PostgreSQL refuses everyone else, the service too.
    """
    with connection.cursor() as cursor:
        # Nobody writes meanwhile, and whoever does next writes in the new era.
        cursor.execute("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"SELECT {PRESENT} + 1")
        (era,) = cursor.fetchone()
        cursor.execute(f"ALTER TABLE audit_events ALTER COLUMN era SET DEFAULT {int(era)}")
        # The era is no part of what an event says, nor of its hash.
        cursor.execute("ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only")
        cursor.execute(_STRAY, [era])
        cursor.execute("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_append_only")
    return int(era)
