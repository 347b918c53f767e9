"""manage.py audit_trail: the chain of one subject, a line for each event."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit_app.models import AuditEvent
from audit_app.trail import instant


class Command(BaseCommand):
    """Prints the number, time, type, move, actor and reason of each event, oldest first."""

    help = "Print the chain of events of one subject."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose chain."""
        parser.add_argument("subject_type", help="what it is, e.g. session")
        parser.add_argument("id", type=UUID, help="which one")

    def handle(self, *args: Any, **options: Any) -> str:
        """Read the events of the chain; refused attempts stand outside it and have no number."""
        kind, pk = options["subject_type"], options["id"]
        chain = AuditEvent.objects.filter(subject_type=kind, subject_id=pk, seq__isnull=False).order_by("seq")
        lines = [_line(event) for event in chain]
        if not lines:
            raise CommandError(f"There are no events of {_plain(kind)} {pk}.")
        return "\n".join(lines)


def _line(event: AuditEvent) -> str:
    moved = f"{event.from_status or '-'} → {event.to_status or '-'}"
    line = f"{event.seq:>3}  {instant(event.timestamp)}  {event.event_type:<21}  {moved:<19}  {_who(event)}"
    return f"{line}  {_plain(event.reason)}" if event.reason else line


def _who(event: AuditEvent) -> str:
    who = f"{event.actor_issuer}|{event.actor_subject}"
    if event.on_behalf_of_subject is not None:
        who += f" for {event.on_behalf_of_issuer}|{event.on_behalf_of_subject}"
    return _plain(who)


def _plain(text: str) -> str:
    """One line, whatever is in it: a reason must not be able to forge a line, nor to speak to a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
