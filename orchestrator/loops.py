"""Doing something again and again, until told to stop."""

import logging
import math
import signal
import threading
from argparse import ArgumentTypeError
from collections.abc import Callable
from types import FrameType

from django.db import close_old_connections

from orchestrator.database_term import term_guard
from orchestrator.problems import ServiceUnavailable

log = logging.getLogger(__name__)


def interval(text: str) -> float:
    """A number of seconds above 0, as a command's argument. Raises argparse's error."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ArgumentTypeError("it must be a number of seconds above 0")
    return seconds


def stop_by_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set from now on, in place of ending the process."""
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, end)
    return stop


def drop_stale_connections() -> None:
    """Close this thread's connections that are too old, broken, or to a database that was replaced."""
    close_old_connections()
    term_guard().close_overtaken()


def every(seconds: float, work: Callable[[], object]) -> None:
    """Run `work`, wait, and again, until SIGTERM or SIGINT; a round under way is finished.

    A database that is away is no end: the next round tries again.
    """
    stop = stop_by_signal()
    while not stop.is_set():
        drop_stale_connections()
        try:
            work()
        except ServiceUnavailable as problem:
            log.warning("the round failed", extra={"why": problem.detail})
        stop.wait(seconds)
