"""The admin's logins, as Django keeps them: rows that nobody needs once their time has passed."""

from django.db import connection

from orchestrator import boundary

BATCH = 1000

# An ARRAY is made once. An IN may be run again for each row beside it, and then takes more than a batch.
_END = """
DELETE FROM django_session WHERE session_key = ANY (ARRAY(
  SELECT session_key FROM django_session WHERE expire_date < statement_timestamp() LIMIT %s FOR UPDATE SKIP LOCKED))
"""


def end_expired() -> int:
    """Delete them in batches; how many went. Raises ServiceUnavailable where the database is away."""

    def batch() -> int:
        with connection.cursor() as cursor:
            cursor.execute(_END, [BATCH])
            return int(cursor.rowcount)

    total = 0
    while count := boundary.write(batch):
        total += count
    return total
