"""manage.py purge_idempotency_records: let go of answers whose time is over. Safe from cron, safe twice at once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from orchestrator import boundary
from orchestrator.problems import ServiceUnavailable

BATCH = 5000

_PURGE = """
DELETE FROM idempotency_records WHERE k IN (
  SELECT k FROM idempotency_records WHERE expires_at <= statement_timestamp() LIMIT %s FOR UPDATE SKIP LOCKED)
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


class Command(BaseCommand):
    """Ends with a sentence."""

    help = "Let go of remembered answers whose time is over."

    def handle(self, *args: Any, **options: Any) -> str:
        """Purge them."""
        try:
            count = purge()
        except ServiceUnavailable as problem:
            raise CommandError(problem.detail) from problem
        return f"{count} record{'' if count == 1 else 's'} purged."
