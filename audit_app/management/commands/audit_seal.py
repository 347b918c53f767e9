"""manage.py audit_seal: seal what can be sealed. Safe from cron, safe twice at once."""

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit_app.sealing import EraNotBegun, KeyChanged, seal_all
from orchestrator.problems import ServiceUnavailable


def seal(make: Callable[[], int] = seal_all) -> str:
    """Seal, and say how many seals that took. Raises CommandError where it cannot be done."""
    try:
        count = make()
    except ServiceUnavailable as problem:
        raise CommandError(problem.detail) from problem
    except (KeyChanged, EraNotBegun, OSError, ValueError) as error:
        raise CommandError(f"The trail cannot be sealed: {error}") from error
    return f"{count} seal{'' if count == 1 else 's'} made."


class Command(BaseCommand):
    """Ends with a sentence."""

    help = "Seal the events of the trail that no running transaction can precede any more."

    def handle(self, *args: Any, **options: Any) -> str:
        """Seal them."""
        return seal()
