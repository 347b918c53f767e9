"""Letting go of remembered answers whose time is over. No promise rests on it, only room."""

from django.db import connection

from orchestrator import boundary

BATCH = 5000

# An ARRAY is made once. An IN may be run again for each row beside it, and then takes more than a batch.
_PURGE = """
DELETE FROM idempotency_records WHERE k = ANY (ARRAY(
  SELECT k FROM idempotency_records WHERE expires_at <= statement_timestamp() LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def purge() -> int:
    """Delete what is past its time, in batches; rows that somebody else holds are passed over. How many went.

    Raises ServiceUnavailable where the database is away.
    """

    def batch() -> int:
        with connection.cursor() as cursor:
            cursor.execute(_PURGE, [BATCH])
            return int(cursor.rowcount)

    total = 0
    while count := boundary.write(batch):
        total += count
    return total
