"""The record of each job in the database: whether it is due, when it last succeeded, how many rows it cannot move."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from orchestrator import boundary
from orchestrator.maintenance.jobs import Job

MAX_ERROR_LENGTH = 500

# The clock of the wall, not of the transaction: two processes compare what they wrote.
_START = """
INSERT INTO maintenance_jobs AS job (name, last_started_at) VALUES (%s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET last_started_at = clock_timestamp()
WHERE coalesce(job.last_success_at <= clock_timestamp() - make_interval(secs => %s), true)
  AND coalesce(job.last_started_at <= clock_timestamp() - make_interval(secs => %s), true)
RETURNING name
"""
_SUCCEED = """
INSERT INTO maintenance_jobs (name, last_success_at) VALUES (%s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET last_success_at = clock_timestamp(), failures = 0
"""
_FAIL = """
INSERT INTO maintenance_jobs AS job (name, last_error_at, last_error, failures) VALUES (%s, clock_timestamp(), %s, 1)
ON CONFLICT (name) DO UPDATE SET last_error_at = clock_timestamp(), last_error = excluded.last_error,
  failures = job.failures + 1
"""
_STATES = """
SELECT name, extract(epoch FROM clock_timestamp() - last_success_at)::float, failures FROM maintenance_jobs
"""
_POISON = "SELECT job, count(*) FROM maintenance_poison_rows GROUP BY job"


@dataclass(frozen=True, slots=True)
class State:
    """What the database knows of a job. `age_seconds` is that of its last success, None where it never succeeded."""

    job: Job
    age_seconds: float | None
    failures: int
    poison_rows: int

    @property
    def is_overdue(self) -> bool:
        """Return whether the job has not succeeded for too long, or never."""
        return self.age_seconds is None or self.age_seconds > self.job.overdue_seconds


def start(job: Job) -> bool:
    """Return whether a job of an interval is due, and record that it starts. Of several processes one starts it.

    Raises ServiceUnavailable where the database is away.
    """
    return _execute(_START, [job.name, job.interval_seconds, job.retry_seconds]) == 1


def succeed(job: Job) -> None:
    """Record that a round of a job is done. Raises ServiceUnavailable where the database is away."""
    _execute(_SUCCEED, [job.name])


def fail(job: Job, why: str) -> None:
    """Record that a round of a job failed. Raises ServiceUnavailable where the database is away."""
    # PostgreSQL has no NUL in a text.
    _execute(_FAIL, [job.name, why.replace("\0", "")[:MAX_ERROR_LENGTH]])


def states(jobs: Sequence[Job]) -> list[State]:
    """Return what is recorded of each job, in their order. Raises what the database raises."""
    with connection.cursor() as cursor:
        cursor.execute(_STATES)
        rows = {name: (age, failures) for name, age, failures in cursor.fetchall()}
        cursor.execute(_POISON)
        poison = dict(cursor.fetchall())
    never = (None, 0)
    return [
        State(job, *rows.get(job.name, never), poison_rows=sum(poison.get(name, 0) for name in job.moves_as))
        for job in jobs
    ]


def _execute(sql: str, values: Sequence[str | float]) -> int:
    def work() -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return int(cursor.rowcount)

    return boundary.write(work)
