"""Pages of the documentation that are written from the code: kept, or compared."""

from argparse import ArgumentParser
from typing import Any, ClassVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class GeneratedPage(BaseCommand):
    """Ends with a sentence; with 1 where --check finds another text than the code gives."""

    requires_system_checks = ()
    page: ClassVar[str]
    """Its path from the folder of the checkout."""
    source: ClassVar[str]
    """What it is written from, as the sentence names it."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whether to write."""
        parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if it is not current")

    def document(self) -> str:
        """The whole text."""
        raise NotImplementedError

    def handle(self, *args: Any, **options: Any) -> str:
        """Write it, or compare it."""
        path, written = settings.BASE_DIR / self.page, self.document()
        current = path.is_file() and path.read_text(encoding="utf-8") == written
        if options["check"] and not current:
            command = type(self).__module__.rpartition(".")[2]
            raise CommandError(f"{self.page} is not what the {self.source} say. Run manage.py {command}.")
        if not current:
            path.write_text(written, encoding="utf-8")
        return f"{self.page} is {'current' if current else 'written anew'}."
