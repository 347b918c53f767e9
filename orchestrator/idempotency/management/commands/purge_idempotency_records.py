"""manage.py purge_idempotency_records: let go of answers whose time is over. Safe from cron, safe twice at once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orchestrator.idempotency.purge import purge
from orchestrator.problems import ServiceUnavailable


class Command(BaseCommand):
    """Ends with a sentence."""

    help = "Let go of remembered answers whose time is over. manage.py sweep does so too."

    def handle(self, *args: Any, **options: Any) -> str:
        """Purge them."""
        try:
            return sentence(purge())
        except ServiceUnavailable as problem:
            raise CommandError(problem.detail) from problem


def sentence(count: int) -> str:
    """What was done."""
    return f"{count} idempotency record{'' if count == 1 else 's'} purged."
