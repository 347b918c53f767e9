"""manage.py audit_checkpoint: the newest checkpoint, the key to verify it by, or a proof that a seal is in it."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit_app import checkpoint
from orchestrator.problems import ServiceUnavailable


class Command(BaseCommand):
    """Prints the checkpoint, unless something else is requested."""

    help = "Print the newest checkpoint over all seals (C2SP tlog-checkpoint)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to print."""
        either = parser.add_mutually_exclusive_group()
        either.add_argument("--key", action="store_true", help="print the verifier key (C2SP signed-note)")
        either.add_argument("--prove", type=int, metavar="N", help="print a proof that seal N is in it, as JSON")

    def handle(self, *args: Any, **options: Any) -> str:
        """Print it. Raises CommandError where it is not to be had."""
        try:
            if options["key"]:
                return _key()
            if options["prove"] is not None:
                return json.dumps(checkpoint.proof_of(options["prove"]), indent=2, ensure_ascii=False)
            return _newest()
        except checkpoint.NotInCheckpoint as error:
            raise CommandError(f"Seal {options['prove']} is not in the checkpoint.") from error
        except checkpoint.CheckpointTrouble as trouble:
            raise CommandError(f"The checkpoint cannot be used: {trouble}") from trouble
        except ServiceUnavailable as problem:
            raise CommandError(problem.detail) from problem


def _key() -> str:
    key = checkpoint.verifier_key()
    if key is None:
        raise CommandError("The public key of the last seal is not published, or there is no seal.")
    return key


def _newest() -> str:
    kept = checkpoint.newest()
    if kept is None:
        raise CommandError("There is no checkpoint yet: manage.py audit_seal")
    return kept.note.removesuffix("\n")
