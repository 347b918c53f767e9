"""Running maintenance jobs side by side: each in a thread of its own, so that none waits for another."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connections

from orchestrator.loops import drop_stale_connections, stop_by_signal
from orchestrator.maintenance import records
from orchestrator.maintenance.jobs import Incomplete, Job
from orchestrator.problems import ServiceUnavailable

RECORD_SECONDS = 15.0
"""A looping job records its success once in this time. Each record is a write, and the age is judged in minutes."""

_GRACE_SECONDS = 20.0
"""How long a loop that was told to stop waits for the rounds under way."""
_NAP_SECONDS = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What a round of a job amounts to: its sentence, and whether everything was done."""

    job: Job
    sentence: str
    is_whole: bool = True


class JobRunner:
    """Runs one job, time and again, and records how its rounds end."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._recorded_at = float("-inf")

    def run(self) -> Report | None:
        """Do one round if the job is due. Return None if not. A round that fails is reported, never raised."""
        job = self._job
        try:
            if job.interval_seconds and not records.start(job):
                return None
            report = self._round()
            if time.monotonic() - self._recorded_at >= RECORD_SECONDS:
                records.succeed(job)
                self._recorded_at = time.monotonic()
        except ServiceUnavailable as problem:
            return self._failed(problem.detail)
        except CommandError as error:
            return self._failed(str(error))
        except Exception as error:
            log.exception("a maintenance job failed", extra={"job": job.name})
            return self._failed(f"{type(error).__name__}: {error}".splitlines()[0])
        return report

    def _round(self) -> Report:
        try:
            return Report(self._job, self._job.run())
        except Incomplete as left:
            return Report(self._job, str(left), is_whole=False)

    def _failed(self, why: str) -> Report:
        self._recorded_at = float("-inf")
        try:
            records.fail(self._job, why)
        except (DatabaseError, InterfaceError, ServiceUnavailable):
            # What keeps the job from its work often keeps it from this record too.
            log.warning("the failure of a maintenance job is not recorded", extra={"job": self._job.name})
        return Report(self._job, why, is_whole=False)


def run_all(jobs: Sequence[Job], report: Callable[[Report], object]) -> int:
    """Do one round of each job that is due, all at once; report them in their order. How many were not done wholly."""
    reports: dict[str, Report | None] = {}

    def run(job: Job) -> None:
        try:
            reports[job.name] = JobRunner(job).run()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[job], name=job.name) for job in jobs]
    for thread in threads:
        thread.start()
    incomplete = 0
    for thread in threads:
        thread.join()
        if (done := reports[thread.name]) is not None:
            report(done)
            incomplete += not done.is_whole
    return incomplete


def loop(jobs: Sequence[Job], seconds: float, report: Callable[[Report], object]) -> None:
    """Run each job every `seconds`, or when its interval is over, until SIGTERM or SIGINT.

    Rounds under way are then finished, as far as they take no longer than twenty seconds.
    """
    stop = stop_by_signal()
    # Daemons: what does not end in time ends with the process, and its transaction is rolled back.
    threads = [
        threading.Thread(target=_repeat, args=[job, seconds, stop, report], name=job.name, daemon=True) for job in jobs
    ]
    for thread in threads:
        thread.start()
    while not stop.is_set():
        # A signal handler must not meet its own thread inside the lock of the event.
        time.sleep(_NAP_SECONDS)
    deadline = time.monotonic() + _GRACE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _repeat(job: Job, seconds: float, stop: threading.Event, report: Callable[[Report], object]) -> None:
    runner = JobRunner(job)
    # Whether a rare job is due needs no question every few seconds.
    pause = max(seconds, job.interval_seconds / 60)
    while not stop.is_set():
        try:
            drop_stale_connections()
            if (done := runner.run()) is not None:
                report(done)
        except Exception:
            # Such as a pipe that nobody reads any more. The thread is the job's only one.
            log.exception("a round of a maintenance job was not reported", extra={"job": job.name})
        stop.wait(pause)
    connections.close_all()
