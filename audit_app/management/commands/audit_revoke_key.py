"""manage.py audit_revoke_key: no seal from a number on is good by a key, and audit_verify says so."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit_app import key_validity, seal_keys, trail
from audit_app.models import AuditSeal
from audit_app.trail import Action, Event
from orchestrator import boundary
from orchestrator.actors import DEFAULT_TENANT, job
from orchestrator.clock import database_now
from orchestrator.problems import ServiceUnavailable
from orchestrator.worker import connect_as_worker


class Command(BaseCommand):
    """Ends with a sentence."""

    help = "Revoke a key of the seals, from the next seal on or from an earlier one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which key, from when on, and why."""
        parser.add_argument("key", help="the key's id, as its file in AUDIT_SEAL_PUBLIC_KEYS is named")
        parser.add_argument("--from-seal", type=int, metavar="NUMBER", help="the first seal for which it is not good")
        parser.add_argument("--reason", default="", help="why, for the event")

    def handle(self, *args: Any, **options: Any) -> str:
        """Revoke it, first in the folder, then by an event."""
        connect_as_worker()
        folder, key = settings.AUDIT_SEAL_PUBLIC_KEYS, options["key"]
        if key not in seal_keys.published(folder):
            raise CommandError(f"{folder} has no public key {key}.")
        try:
            newest = boundary.read(lambda: AuditSeal.objects.order_by("-number").first())
            number = options["from_seal"] or (newest.number if newest else 0) + 1
            revoked = key_validity.revoke(folder, key, number)
            boundary.write(lambda: _record(key, revoked.revoked_from, options["reason"]))
        except ServiceUnavailable as problem:
            raise CommandError(problem.detail) from problem
        except (OSError, ValueError) as error:
            raise CommandError(f"The revocation cannot be recorded: {error}") from error
        return f"The key {key} is good for no seal from {revoked.revoked_from} on."


def _record(key: str, number: int | None, reason: str) -> None:
    event = Event(
        action=Action.AUDIT_KEY_REVOKED,
        tenant=DEFAULT_TENANT,
        actor=job("audit_revoke_key"),
        at=database_now(),
        reason=reason,
        changes={"key": key, "from_seal": number},
    )
    trail.record(trail.link(event))
