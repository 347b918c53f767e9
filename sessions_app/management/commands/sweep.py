"""manage.py sweep: all maintenance jobs, for cron or, with --loop, for a process of its own."""

from argparse import ArgumentParser
from threading import Lock
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orchestrator.loops import interval
from orchestrator.maintenance.jobs import all_jobs
from orchestrator.maintenance.running import Report, loop, run_all
from orchestrator.replication import warn
from orchestrator.worker import connect_as_worker


class Command(BaseCommand):
    """Ends with 1 where a job could not be done wholly."""

    help = "Do all maintenance: expire sessions and approvals, settle tasks, end logins, purge keys, seal the trail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how often."""
        parser.add_argument(
            "--loop", type=interval, metavar="SECONDS", help="do it again every so often, until stopped"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run every job that is due."""
        connect_as_worker()
        jobs, self._writing = all_jobs(), Lock()
        if options["loop"] is not None:
            warn()
            loop(jobs, options["loop"], self._report)
            return
        if failed := run_all(jobs, self._report):
            raise CommandError(f"{failed} of {len(jobs)} jobs could not be done wholly.", returncode=1)

    def _report(self, report: Report) -> None:
        with self._writing:
            stream = self.stdout if report.is_whole else self.stderr
            stream.write(report.sentence)
            stream.flush()
