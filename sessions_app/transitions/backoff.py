"""The pause between two attempts: exponential, with full jitter."""

import random
from datetime import timedelta

from sessions_app.models import Task

LONGEST_SECONDS = 300


def pause(attempt: int) -> timedelta:
    """How long to wait after attempt number `attempt`: anything up to 2^attempt seconds, at most five minutes.

    Full jitter keeps the tasks of a worker that died from coming back all at once.
    """
    return timedelta(seconds=random.uniform(0, min(LONGEST_SECONDS, 2**attempt)))  # noqa: S311  no secret


def requeue_after_a_pause(task: Task) -> None:
    """Put a locked, active task back for its next attempt."""
    task.requeue()
    task.not_before = task.now + pause(task.attempt)
    task.attempt += 1
