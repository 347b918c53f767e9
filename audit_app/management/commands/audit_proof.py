"""manage.py audit_proof: a proof that an event was sealed, to be checked with docs/audit/check_proof.py."""

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit_app.models import AuditEvent
from audit_app.proof import NotSealed, proof_of


class Command(BaseCommand):
    """Prints JSON."""

    help = "Print a proof that an event was sealed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Of which event."""
        parser.add_argument("event", type=UUID, help="the event's id")

    def handle(self, *args: Any, **options: Any) -> str:
        """Make it."""
        try:
            return json.dumps(proof_of(options["event"]), indent=2, ensure_ascii=False)
        except AuditEvent.DoesNotExist as error:
            raise CommandError(f"There is no event {options['event']}.") from error
        except NotSealed as error:
            raise CommandError("The event waits for its seal: manage.py audit_seal") from error
