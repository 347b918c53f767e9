"""manage.py audit_seal: seal what can be sealed. Safe from cron, safe twice at once."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit_app.checkpoint import CheckpointTrouble
from audit_app.sealer_state import AnchorUnwritable, SealingStopped
from audit_app.sealing import accept_new_anchor, seal_all
from orchestrator.problems import ServiceUnavailable
from orchestrator.worker import connect_as_worker


def seal(make: Callable[[], int] = seal_all) -> str:
    """Seal, and say how many seals that took. Raises CommandError where it cannot be done."""
    try:
        count = make()
    except ServiceUnavailable as problem:
        raise CommandError(problem.detail) from problem
    except SealingStopped as trouble:
        raise CommandError(f"The trail cannot be sealed: {trouble}") from trouble
    except AnchorUnwritable as trouble:
        raise CommandError(f"The trail is sealed, but not anchored: {trouble}") from trouble
    except CheckpointTrouble as trouble:
        raise CommandError(f"The trail is sealed, but its checkpoint is not written: {trouble}") from trouble
    return f"{count} seal{'' if count == 1 else 's'} made."


def _seal_with_new_anchor() -> int:
    accept_new_anchor()
    return seal_all()


class Command(BaseCommand):
    """Ends with a sentence."""

    help = "Seal the events of the trail that no running transaction can precede any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the word of the operator on the anchor."""
        parser.add_argument(
            "--accept-new-anchor",
            action="store_true",
            help="begin the anchor again where it was moved or lost, and write every seal into it",
        )

    def handle(self, *args: Any, **options: Any) -> str:
        """Seal them."""
        connect_as_worker()
        return seal(_seal_with_new_anchor if options["accept_new_anchor"] else seal_all)
