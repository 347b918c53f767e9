"""The sweeper of `make run`: leases, deadlines and sessions that ran out are found by themselves.

It is a child of the process that serves, which starts it again where it ends, and it ends with that process, however
that ends. `python -m orchestrator.sweeper PID`
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import django
from django.core.management import call_command

from orchestrator.database_term import term_guard
from orchestrator.local_database import HERE

SECONDS = 5
"""How long after one round comes the next, and how long after one start, and the very start, at the least, another."""
_NAP_SECONDS = 0.25
_PATIENCE_SECONDS = 3


class Sweeper:
    """The child, seen from the process that serves."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        # Not at once: it would start beside the workers, for whom somebody waits.
        self._started_at = time.monotonic()
        self._owner = os.getpid()

    @classmethod
    @contextmanager
    def beside(cls) -> Iterator[Self]:
        """One for as long as the block runs."""
        sweeper = cls()
        try:
            yield sweeper
        finally:
            sweeper.stop()

    def look_after(self) -> None:
        """Start it where it does not run."""
        running = self._process is not None and self._process.poll() is None
        if running or time.monotonic() - self._started_at < SECONDS:
            return
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.sweeper", str(self._owner)],
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            # What it did is in the trail; whoever sits at the terminal wants to know of trouble alone.
            stdout=subprocess.DEVNULL,
            # Ctrl-C is for the process that serves, which ends this one before the database.
            process_group=0,
        )

    def stop(self) -> None:
        """End it. A worker is a fork of the process that serves and unwinds through here too: it is not its to end."""
        if self._process is None or os.getpid() != self._owner:
            return
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def sweep_beside(parent: int) -> None:
    """Sweep again and again, until told to stop or the parent is gone."""
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    django.setup()
    term_guard().install()
    call_command("sweep", loop=SECONDS)


def _end_with(parent: int) -> None:
    """An orphan has another parent at once, on every system; what a round had begun is rolled back."""
    while os.getppid() == parent:
        time.sleep(_NAP_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    sweep_beside(int(sys.argv[1]))
