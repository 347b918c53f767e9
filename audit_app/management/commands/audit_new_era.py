"""manage.py audit_new_era: after a dump was restored into a new cluster, and before the service writes there."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from audit_app import eras
from orchestrator import boundary
from orchestrator.problems import ServiceUnavailable

_NOT_THE_OWNER = "42501"


class Command(BaseCommand):
    """Ends with a sentence."""

    help = "Begin an era of the trail, as the owner, after a dump was restored into a new cluster."

    def handle(self, *args: Any, **options: Any) -> str:
        """Begin it."""
        try:
            era = boundary.write(eras.begin)
        except ServiceUnavailable as problem:
            raise CommandError(problem.detail) from problem
        except DatabaseError as error:
            if boundary.sqlstate(error) == _NOT_THE_OWNER:
                raise CommandError(
                    "Only the owner of the tables begins an era: set DATABASE_URL as for manage.py migrate."
                ) from error
            raise
        return f"Era {era} has begun."
