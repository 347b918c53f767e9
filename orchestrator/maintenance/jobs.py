"""What a maintenance job is, and the table of all jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from django.conf import settings
from django.core.management.base import CommandError
from django.utils.module_loading import import_string

SHORTEST_INTERVAL_SECONDS = 60.0
"""The interval that a job has at least when it is judged to be overdue: cron runs the jobs once a minute."""

MISSED_INTERVALS = 3
"""A job is overdue when it has not succeeded for this many of its intervals."""


class Incomplete(CommandError):  # noqa: N818  the round is done
    """The job did its round, except for rows that it could not move. The message names them."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=1)


@dataclass(frozen=True, slots=True)
class Job:
    """A periodic duty.

    `run` does one round and returns a sentence. It raises Incomplete where it could not move some rows, and any other
    exception where the round failed. It runs in a thread of its own with a connection of its own, at the same time as
    other jobs, and possibly in two processes at once.

    `interval_seconds` is the least time between two successful rounds; 0 is every round of the sweep. Of several
    processes one starts a job of an interval. None starts it again within a tenth of the interval. After that it is
    started again until a round has succeeded, also while a long round is under way.

    `moves_as` are the names under which it moves rows, and records those that it cannot move.
    """

    name: str
    run: Callable[[], str]
    interval_seconds: float = 0.0
    moves_as: tuple[str, ...] = ()

    @property
    def overdue_seconds(self) -> float:
        """Return the age of the last success above which the job is overdue."""
        return MISSED_INTERVALS * max(self.interval_seconds, SHORTEST_INTERVAL_SECONDS)

    @property
    def retry_seconds(self) -> float:
        """Return how long after a round that failed the job starts again."""
        return self.interval_seconds / 10


def all_jobs() -> Sequence[Job]:
    """Return the table that the setting MAINTENANCE_JOBS names."""
    return cast(Sequence[Job], import_string(settings.MAINTENANCE_JOBS))
