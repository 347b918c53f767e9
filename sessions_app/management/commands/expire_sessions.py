"""manage.py expire_sessions: expire what is past its time. Safe from cron, safe twice at once."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.progress import Progress

from orchestrator.loops import every, interval
from orchestrator.maintenance.jobs import Incomplete
from orchestrator.problems import ServiceUnavailable
from sessions_app.duties import EXPIRE_SESSIONS
from sessions_app.sweeping import Outcome, count_due, sweep


class Command(BaseCommand):
    """Ends with a sentence; with 1 where a session could not be expired."""

    help = "Expire the sessions whose time has passed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How many, whether at all, how often."""
        parser.add_argument("--limit", type=int, help="expire this many at most")
        parser.add_argument("--dry-run", action="store_true", help="only say how many are due")
        parser.add_argument(
            "--loop", type=interval, metavar="SECONDS", help="do it again every so often, until stopped"
        )

    def handle(self, *args: Any, **options: Any) -> str | None:
        """Expire them."""
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
        if options["loop"] is not None:
            if options["dry_run"]:
                raise CommandError("--dry-run and --loop do not go together.")
            every(options["loop"], lambda: self._round(options["limit"]))
            return None
        try:
            if options["dry_run"]:
                count = count_due(EXPIRE_SESSIONS)
                return f"{count} session{' is' if count == 1 else 's are'} due."
            return sentence(expire(options["limit"]))
        except Incomplete as left:
            raise CommandError(str(left), returncode=left.returncode) from left
        except ServiceUnavailable as problem:
            raise CommandError(problem.detail) from problem

    def _round(self, limit: int | None) -> None:
        counts: list[int] = []
        try:
            outcome = sweep(EXPIRE_SESSIONS, limit=limit, progress=counts.append)
        except ServiceUnavailable:
            self._say(Outcome(moved=sum(counts)))
            raise
        self._say(outcome)

    def _say(self, outcome: Outcome) -> None:
        if outcome.moved or outcome.poison:
            self.stdout.write(_told(outcome))
            # Through a pipe it would wait for more.
            self.stdout.flush()


def expire(limit: int | None) -> Outcome:
    """Expire what is due, with a progress bar when a person watches."""
    if not sys.stderr.isatty():
        return sweep(EXPIRE_SESSIONS, limit=limit)
    count = count_due(EXPIRE_SESSIONS)
    with Progress(transient=True) as bar:
        shown = bar.add_task("Expiring", total=count if limit is None else min(count, limit))
        return sweep(EXPIRE_SESSIONS, limit=limit, progress=lambda done: bar.advance(shown, done))


def sentence(outcome: Outcome) -> str:
    """Return what was done. Raises Incomplete, which ends with 1, where a session could not be expired."""
    if outcome.poison:
        raise Incomplete(_told(outcome))
    return _told(outcome)


def _told(outcome: Outcome) -> str:
    done = f"{outcome.moved} session{'' if outcome.moved == 1 else 's'} expired"
    if not outcome.poison:
        return f"{done}."
    listed = "; ".join(f"{pk}: {why}" for pk, why in outcome.poison.items())
    return f"{done}, {len(outcome.poison)} could not be: {listed}."
