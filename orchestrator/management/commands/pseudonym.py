"""manage.py pseudonym: by which word the log tells of somebody."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from orchestrator.actors import Identity
from orchestrator.pseudonyms import pseudonym


class Command(BaseCommand):
    """Prints it."""

    help = "Print what the log calls somebody: its `subject`."
    requires_system_checks: list[str] = []  # noqa: RUF012

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who."""
        parser.add_argument("issuer", help="of their tokens; local for the service's own")
        parser.add_argument("subject")

    def handle(self, *args: Any, **options: Any) -> str:
        """The same word for as long as SECRET_KEY is the same."""
        return pseudonym(Identity(options["issuer"], options["subject"]))
