"""manage.py sweep: the one housekeeping command, for cron or, with --loop, for a process of its own."""

import logging
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit_app.management.commands.audit_seal import seal
from audit_app.sealing import seal_due
from orchestrator.idempotency.management.commands import purge_idempotency_records
from orchestrator.idempotency.purge import purge
from orchestrator.loops import every, interval
from orchestrator.people.logins import end_expired
from orchestrator.problems import ServiceUnavailable
from sessions_app.duties import EXPIRE_APPROVALS, EXPIRE_SESSIONS, TASK_DUTIES
from sessions_app.management.commands.expire_sessions import sentence
from sessions_app.sweeping import Duty, sweep

log = logging.getLogger(__name__)


def _expire() -> str:
    return sentence(sweep(EXPIRE_SESSIONS))


def _settle_tasks() -> str:
    return _settled("Tasks", TASK_DUTIES)


def _settle_approvals() -> str:
    return _settled("Approvals", [(EXPIRE_APPROVALS, "expired")])


def _settled(noun: str, duties: Iterable[tuple[Duty, str]]) -> str:
    """What became of rows by these duties, one after the other. Raises CommandError where one could not be moved."""
    told, poison = [], {}
    for duty, became in duties:
        outcome = sweep(duty)
        poison.update(outcome.poison)
        told.append(f"{outcome.moved} {became}")
    done = f"{noun}: {', '.join(told)}"
    if not poison:
        return f"{done}."
    listed = "; ".join(f"{pk}: {why}" for pk, why in poison.items())
    raise CommandError(f"{done}, {len(poison)} could not be: {listed}.", returncode=1)


def _end_logins() -> str:
    """The admin's logins, and those that were begun and never finished."""
    count = end_expired()
    return f"{count} login{'' if count == 1 else 's'} ended."


def _purge() -> str:
    return purge_idempotency_records.sentence(purge())


def _seal() -> str:
    return seal(seal_due)


DUTIES: tuple[Callable[[], str], ...] = (_expire, _settle_approvals, _settle_tasks, _end_logins, _purge, _seal)
"""What there is to do, each ending with a sentence. A duty that fails does not keep the others from theirs."""


class Command(BaseCommand):
    """Ends with 1 where a duty could not be done wholly."""

    help = "Do all housekeeping: expire sessions and approvals, settle tasks, end logins, purge keys, seal the trail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How often."""
        parser.add_argument(
            "--loop", type=interval, metavar="SECONDS", help="do it again every so often, until stopped"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do every duty."""
        if options["loop"] is not None:
            every(options["loop"], self._round)
            return
        if failed := self._round():
            raise CommandError(f"{failed} of {len(DUTIES)} duties could not be done wholly.", returncode=1)

    def _round(self) -> int:
        failed = 0
        for duty in DUTIES:
            try:
                self.stdout.write(duty())
                self.stdout.flush()
            except CommandError as error:
                failed += 1
                self.stderr.write(str(error))
            except ServiceUnavailable as problem:
                failed += 1
                self.stderr.write(problem.detail)
            except Exception:
                failed += 1
                log.exception("a duty failed")
        return failed
